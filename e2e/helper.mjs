// What the test files share: building and running the Go servers, the two
// clients, and waiting for what they see.
import { spawn, execFile } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { inspect, promisify } from 'node:util';
import { after } from 'node:test';
import io1 from 'socket.io-client-1';
import io2 from 'socket.io-client';
import jwt from 'jsonwebtoken';

export const here = dirname(fileURLToPath(import.meta.url));
export const secret = 'a secret for tests, of 32 bytes or more';
const patience = 10_000;

// Clients and transports -----------------------------------------------------

const clients = { 'client 1.7.4': io1, 'client 2.5.0': io2 };
const transports = {
  polling: ['polling'],
  websocket: ['websocket'],
  upgrade: ['polling', 'websocket']
};

// All six combinations: {name, client, io, transports}.
export const matrix = Object.entries(clients).flatMap(([client, io]) =>
  Object.entries(transports).map(([kind, list]) => ({ name: `${client}, ${kind}`, client, io, kind, transports: list })));

// Connects a client and records what it sees.
export function connect(variant, url, options = {}) {
  const socket = variant.io(url, {
    forceNew: true,
    transports: variant.transports,
    reconnectionDelay: 20,
    reconnectionDelayMax: 40,
    ...options
  });
  const { origin } = new URL(url);
  clientsOf.set(origin, [...clientsOf.get(origin) ?? [], socket]);
  return new Witness(socket);
}

// The sockets made for each server. One that is left open would look for its
// server for ever, and keep the test from ending.
const clientsOf = new Map();

// Waits until the clients of a server that has ended have noticed.
function leftBehind(url) {
  const connected = (clientsOf.get(url) ?? []).filter(socket => socket.connected);
  return Promise.all(connected.map(socket => within('disconnect', resolve => socket.once('disconnect', resolve))));
}

function closeClients(url) {
  for (const { io } of clientsOf.get(url) ?? []) (io.close ?? io._close).call(io); // _close: since 3.0
  clientsOf.delete(url);
}

const lifecycle = ['connect', 'error', 'connect_error', 'disconnect', 'reconnect_attempt'];
const ours = ['authenticated', 'unauthorized', 'welcome', 'number', 'binary', 'question', 'answered', 'news', 'note', 'token_expiring'];

// Witness keeps the events of a socket in order, without their callbacks.
export class Witness {
  log = [];
  #wake = new Set();

  constructor(socket) {
    this.socket = socket;
    for (const event of [...lifecycle, ...ours]) {
      socket.on(event, (...args) => {
        this.log.push([event, ...args.filter(arg => typeof arg !== 'function')]);
        for (const check of this.#wake) check();
      });
    }
  }

  // The arguments of each time an event was seen.
  all(event) {
    return this.log.filter(([name]) => name === event).map(([, ...args]) => args);
  }

  // Waits for the nth time an event is seen and returns its arguments.
  until(event, nth = 1) {
    return new Promise((resolve, reject) => {
      const check = () => {
        const seen = this.all(event);
        if (seen.length < nth) return;
        finish();
        resolve(seen[nth - 1]);
      };
      const timer = setTimeout(() => {
        finish();
        reject(new Error(`no ${event} (${nth}) after ${patience} ms, but ${inspect(this.log, { maxArrayLength: 8, depth: 3 })}`));
      }, patience);
      const finish = () => {
        clearTimeout(timer);
        this.#wake.delete(check);
      };
      this.#wake.add(check);
      check();
    });
  }

  // Emits and waits for the acknowledgement.
  ask(event, ...args) {
    return within(`acknowledgement of ${event}`, resolve => this.socket.emit(event, ...args, resolve));
  }

  // The transport in use now.
  get transport() {
    return this.socket.io.engine.transport.name;
  }

  // Waits until an upgrade is through.
  upgraded() {
    if (this.transport === 'websocket') return Promise.resolve();
    return within('upgrade', resolve => this.socket.io.engine.once('upgrade', () => resolve()));
  }

  close() {
    this.socket.close();
  }
}

export function within(what, start) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${what} after ${patience} ms`)), patience);
    start(value => {
      clearTimeout(timer);
      resolve(value);
    });
  });
}

// How long to look for what must not happen. Clients come back within 60 ms if
// they come back at all.
export const aMoment = () => new Promise(resolve => setTimeout(resolve, 250));

// Checks again until it holds, for what a server does on its own.
export async function eventually(check) {
  const end = Date.now() + patience;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (Date.now() > end) throw error;
    }
    await new Promise(resolve => setTimeout(resolve, 20));
  }
}

// Runs n jobs, some at a time.
export async function inParallel(n, job, workers = 20) {
  let next = 0;
  await Promise.all(Array.from({ length: workers }, async () => {
    while (next < n) await job(next++);
  }));
}

// Tokens ----------------------------------------------------------------------

export const ago = seconds => Math.floor(Date.now() / 1000) - seconds;
export const good = { sub: 'red', exp: ago(-3600) };

// A good token for red, changed by claims, header and options of jsonwebtoken.
export function sign(claims = {}, { header, key = secret, ...options } = {}) {
  const all = { ...good, ...claims };
  for (const name of Object.keys(all)) if (all[name] === undefined) delete all[name];
  return jwt.sign(all, key, { noTimestamp: true, header: header ?? {}, ...options });
}

const part = value => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

// Signs header and payload as they are, also where jsonwebtoken would not.
export function signRaw(header, payload, key = secret) {
  const text = `${part(header)}.${part(payload)}`;
  return `${text}.${createHmac('sha256', key).update(text).digest('base64url')}`;
}

export const hs256 = { alg: 'HS256', typ: 'JWT' };

// What every refusal carries.
export const refusal = (code, message) => ({ message, code, type: 'UnauthorizedError' });
// What the `unauthorized` event of the round trip carries.
export const unauthorized = (code, message) => ({ message, data: refusal(code, message) });

// Tokens that are refused, with the reason, by a server with the options below.
export const strict = { secret, callback: true, accept: true, audience: 'chat', issuer: 'tests', subject: 'red', expirationRequired: true, methods: ['HS256'], maxTokenBytes: 2048 };
const fits = { aud: 'chat', iss: 'tests' };
export const strictToken = (claims, options) => sign({ ...fits, ...claims }, options);
const [head, body, signature] = strictToken().split('.');
const invalid = message => refusal('invalid_token', message);
export const badTokens = {
  'one part': ['nonsense', invalid('jwt malformed')],
  'two parts': [`${head}.${body}`, invalid('jwt malformed')],
  'four parts': [`${head}.${body}.${signature}.${signature}`, invalid('jwt malformed')],
  'not base64': [`${head}.${body}!.${signature}`, invalid('jwt malformed')],
  'header is not JSON': [signRaw('nonsense', good), invalid('jwt malformed')],
  'payload is not JSON': [signRaw(hs256, 'nonsense'), invalid('jwt malformed')],
  'payload is not an object': [signRaw(hs256, '"red"'), invalid('jwt malformed')],
  'no signature': [`${head}.${body}.`, invalid('jwt signature is required')],
  'alg none, no signature': [`${part({ alg: 'none' })}.${body}.`, invalid('jwt signature is required')],
  'alg none, signature': [`${part({ alg: 'none' })}.${body}.${signature}`, invalid('invalid algorithm')],
  'alg not accepted': [strictToken({}, { algorithm: 'HS512' }), invalid('invalid algorithm')],
  'alg unknown': [signRaw({ alg: 'HS1' }, good), invalid('invalid algorithm')],
  'crit header': [signRaw({ ...hs256, crit: ['b64'], b64: false }, good), invalid('invalid algorithm')],
  'wrong key': [strictToken({}, { key: 'another secret, also of 32 bytes' }), invalid('invalid signature')],
  'wrong signature': [`${head}.${body}.${'A'.repeat(43)}`, invalid('invalid signature')],
  'payload changed': [`${head}.${part({ ...good, ...fits, sub: 'blue' })}.${signature}`, invalid('invalid signature')],
  'expired': [strictToken({ exp: ago(10) }), invalid('jwt expired')],
  'not yet valid': [strictToken({ nbf: ago(-3600) }), invalid('jwt not active')],
  'wrong audience': [strictToken({ aud: 'mail' }), invalid('jwt audience invalid')],
  'wrong issuer': [strictToken({ iss: 'others' }), invalid('jwt issuer invalid')],
  'wrong subject': [strictToken({ sub: 'blue' }), invalid('jwt subject invalid')],
  'required claim missing': [strictToken({ exp: undefined }), invalid('jwt claim required')],
  'too long': [strictToken({ padding: 'x'.repeat(2048) }), invalid('jwt too long')],
  'key not found': [strictToken({}, { header: { kid: 'unknown' } }), refusal('invalid_secret', 'secret unavailable')],
  'key lookup failed': [strictToken({}, { header: { kid: 'fails' } }), refusal('invalid_secret', 'secret unavailable')],
  'key lookup panicked': [strictToken({}, { header: { kid: 'panics' } }), refusal('invalid_secret', 'secret unavailable')],
  'key lookup decided': [strictToken({}, { header: { kid: 'told' } }), refusal('tenant_closed', 'this tenant is closed')],
  'not accepted': [strictToken({ accept: 'fails' }), refusal('unauthorized', 'unauthorized')],
  'Accept panicked': [strictToken({ accept: 'panics' }), refusal('unauthorized', 'unauthorized')],
  'Accept decided': [strictToken({ accept: 'told' }), refusal('banned', 'you are banned')]
};

// Servers ---------------------------------------------------------------------

let folder;
const built = new Map();
const running = new Set();

// Builds a Go program once per test file, with the race detector: a race ends
// the server with an exit code that stop() sees.
function build(module, pkg) {
  const key = join(module, pkg);
  if (!built.has(key)) built.set(key, make());
  return built.get(key);

  async function make() {
    folder ??= mkdtemp(join(tmpdir(), 'socketiojwt-e2e-'));
    const binary = join(await folder, key.replaceAll(/\W/g, '_'));
    await promisify(execFile)('go', ['build', '-race', '-o', binary, `./${pkg}`], { cwd: join(here, module) });
    return binary;
  }
}

after(async () => {
  await Promise.all([...running].map(server => server.stop()));
  if (folder) await rm(await folder, { recursive: true });
});

// Starts a Go program and waits for the first URL it prints.
export async function startProgram(module, pkg, args = [], env = {}) {
  const binary = await build(module, pkg);
  const child = spawn(binary, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, GORACE: 'atexit_sleep_ms=0', ...env } });
  let output = '';
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', text => { errors += text; });
  child.stdout.setEncoding('utf8');
  const exited = new Promise(resolve => child.on('exit', (code, signal) => resolve({ code, signal })));

  const url = await new Promise((resolve, reject) => {
    child.stdout.on('data', text => {
      output += text;
      const found = output.match(/http:\/\/[\d.]+:\d+/);
      if (found) resolve(found[0]);
    });
    exited.then(() => reject(new Error(`${pkg} did not start: ${errors}`)));
  });

  const server = {
    url,
    get errors() { return errors; },
    // Asks the program to stop and insists on a clean exit.
    async stop() {
      if (!running.delete(server)) return;
      child.kill('SIGTERM');
      const hard = setTimeout(() => child.kill('SIGKILL'), patience);
      const { code, signal } = await exited;
      clearTimeout(hard);
      await leftBehind(url); // or they would say that they closed it
      closeClients(url);
      if (code !== 0) throw new Error(`${pkg} ended with ${signal ?? code}: ${errors.slice(-4000)}`);
    },
    async stats() {
      return (await fetch(`${url}/stats`)).json();
    },
    async broadcast(namespace, event, text, room = '') {
      const query = new URLSearchParams({ namespace, event, room });
      await fetch(`${url}/broadcast?${query}`, { method: 'POST', body: JSON.stringify(text) });
    },
    // POSTs to what controls the test server.
    async post(path, query) {
      const response = await fetch(`${url}${path}?${new URLSearchParams(query)}`, { method: 'POST' });
      return response.text();
    }
  };
  running.add(server);
  return server;
}

// Starts the test server. auth: the options of one Authorizer, or a list of
// them; more: the rest of the server's config.
export function startServer(auth, more) {
  const list = [auth].flat().map(options => ({ secret, namespaces: ['/'], ...options }));
  return startProgram('.', 'server', [JSON.stringify({ auth: list, ...more })]);
}

// Runs a body with a server; closes its clients and stops it whatever happens.
export async function withServer(auth, body, more) {
  const server = await startServer(auth, more);
  try {
    await body(server);
  } finally {
    closeClients(server.url);
    await server.stop();
  }
}
