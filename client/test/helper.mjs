// What the test files share: the clients, the servers, and waiting for what a client sees.
import { createRequire } from 'node:module';
import { inspect } from 'node:util';
import { connect } from '../index.js';
import { startNodeServer } from './server.mjs';

const require = createRequire(import.meta.url);
const patience = 10_000; // longer than any server's Timeout here

// A name for each client, its `io`, and the version of Node's server that it fits.
export const clients = [
  ['2.5.0', 'socket.io-client-2', 2],
  ['3.1.3', 'socket.io-client-3', 4],
  ['4.3.2', 'socket.io-client-4.3', 4],
  ['4.5.4', 'socket.io-client-4.5', 4],
  ['4.8.4', 'socket.io-client', 4]
].map(([name, module, version]) => ({ name, io: require(module), version }));

const transports = { polling: ['polling'], websocket: ['websocket'], upgrade: ['polling', 'websocket'] };

// A client in a transport and a mode.
export const variants = client => Object.keys(transports).flatMap(kind =>
  ['handshake', 'roundtrip'].map(mode => ({ ...client, kind, mode, transports: transports[kind], title: `${kind}, ${mode}` })));

// The servers of the tests. SOCKETIOJWT_HANDSHAKE and SOCKETIOJWT_ROUNDTRIP are URLs of other servers to
// test with, for clients of all versions. They have the secret of token.mjs, ExpiryWarning 1s, Timeout 5s at
// most, fail to find the key of a token whose `kid` is `fails`, send `welcome` and answer `whoami` with
// { namespace, subject }, and POST /disconnect?subject=&code=&message= and /revoke?id= do what they say.
export const given = { handshake: process.env.SOCKETIOJWT_HANDSHAKE, roundtrip: process.env.SOCKETIOJWT_ROUNDTRIP };
export const nodeOnly = given.handshake || given.roundtrip ? 'needs what only the servers of this folder do' : false;

export async function startServer({ version, mode }, options) {
  if (!given[mode]) return startNodeServer({ version, mode, ...options });
  return { url: given[mode], stop: async () => {} };
}

export const post = (server, path, query) => fetch(`${server.url}${path}?${new URLSearchParams(query)}`, { method: 'POST' });

const watched = [
  'connect', 'connect_error', 'error', 'disconnect', 'reconnect_attempt',
  'authenticated', 'unauthorized', 'welcome', 'token_expiring'
];

// A client under test, and the events it has seen.
export class Client {
  log = [];
  outs = []; // what onOut was called with
  asked = 0; // how often `token` was
  opened = 0; // how often the connection was
  #checks = new Set();

  // tokens: what `token` gives each time it is asked, the last one from then on; a function is called.
  constructor(variant, server, tokens, options = {}) {
    const token = async () => {
      const next = tokens[Math.min(this.asked++, tokens.length - 1)];
      this.#changed();
      return typeof next === 'function' ? next() : next;
    };
    this.connection = connect(variant.io, server.url + (options.namespace || ''), {
      token,
      mode: variant.mode,
      transports: variant.transports,
      reconnectionDelay: 20,
      reconnectionDelayMax: 40,
      onOut: reason => {
        this.outs.push(reason);
        this.#changed();
      },
      ...options
    });
    this.socket = this.connection.socket;
    this.socket.io.on('open', () => {
      this.opened++;
      this.#changed();
    });
    for (const event of watched) {
      this.socket.on(event, (...args) => {
        this.log.push([event, ...args.filter(arg => typeof arg !== 'function')]);
        this.#changed();
      });
    }
  }

  #changed() {
    for (const check of this.#checks) check();
  }

  // The arguments of each time an event was seen.
  all(event) {
    return this.log.filter(([name]) => name === event).map(([, ...args]) => args);
  }

  // Waits until a condition holds.
  when(what, condition) {
    return new Promise((resolve, reject) => {
      const check = () => {
        if (!condition()) return;
        clearTimeout(timer);
        this.#checks.delete(check);
        resolve();
      };
      const timer = setTimeout(() => {
        this.#checks.delete(check);
        reject(new Error(`not ${what} after ${patience} ms, but ${inspect(this.log, { depth: 3 })}, asked ${this.asked}, out ${inspect(this.outs)}`));
      }, patience);
      this.#checks.add(check);
      check();
    });
  }

  // Waits for the nth time an event is seen and returns its arguments.
  async until(event, nth = 1) {
    await this.when(`${nth} × ${event}`, () => this.all(event).length >= nth);
    return this.all(event)[nth - 1];
  }

  // Waits for the end, and returns its reason.
  async out() {
    await this.when('out', () => this.outs.length > 0);
    return this.outs[0];
  }

  ask(event) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no answer to ${event} after ${patience} ms`)), patience);
      this.socket.emit(event, answer => {
        clearTimeout(timer);
        resolve(answer);
      });
    });
  }

  // The subject of the token that the server knows this client by.
  async subject() {
    return (await this.ask('whoami')).subject;
  }

  // Waits until an upgrade is through, so that what follows is of the transport that a test is about.
  async settled() {
    const { engine } = this.socket.io;
    if (this.socket.io.opts.transports.length === 1 || engine.transport.name === 'websocket') return;
    await once(engine, 'upgrade');
  }

  // Waits until the connection is closed.
  async closed() {
    const { engine } = this.socket.io;
    if (engine.readyState !== 'closed') await once(engine, 'close');
  }

  // Loses the connection, as on a bad line.
  lose() {
    this.socket.io.engine.close();
  }

  // Whether anything is left that could bring the client back.
  get gone() {
    const manager = this.socket.io;
    const reconnecting = manager.reconnecting || manager._reconnecting; // 2.x, later ones
    const { readyState = 'closed' } = manager.engine || {};
    return !this.socket.connected && !this.socket.active && !reconnecting && !!(manager.skipReconnect || !manager.engine) && readyState !== 'open';
  }
}

function once(engine, event) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${event} after ${patience} ms`)), patience);
    engine.once(event, () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
