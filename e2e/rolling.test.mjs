// Rolling restarts of two nodes behind the nginx and the haproxy of docs/deployment.md.
import { after, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { Agent } from 'node:http';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import io2 from 'socket.io-client';
import { aMoment, connect, eventually, here, inParallel, secret, sign, startProgram } from './helper.mjs';
import { startRedis } from './redis.mjs';

const limit = { timeout: 60_000 };
const io4 = createRequire(import.meta.url)('socket.io-client-4').io;
const variants = [['2.5.0', io2], ['4.8.4', io4]].flatMap(([client, io]) =>
  [['polling'], ['websocket'], ['polling', 'websocket']].map(transports => ({ client, io, transports })));

let folder, docs;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'socketiojwt-rolling-'));
  docs = await readFile(join(here, '../docs/deployment.md'), 'utf8');
});

after(() => rm(folder, { recursive: true }));

// Proxies ----------------------------------------------------------------------

// What a machine's own files say around the snippet of the page.
const proxies = {
  nginx: {
    version: ['-v'],
    main: (snippet, at) => `pid ${at}.pid;
error_log stderr warn;
events { worker_connections 8192; }
http {
    access_log off;
    ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(kind => `${kind}_temp_path ${at}.${kind};`).join('\n    ')}
${snippet}}
`,
    args: file => ['-c', file, '-e', 'stderr', '-g', 'daemon off;']
  },
  haproxy: { version: ['-v'], main: snippet => `global\n    maxconn 8192\n\n${snippet}`, args: file => ['-db', '-f', file] }
};

// Debian has them where the PATH of a user need not lead.
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/usr/local/sbin` };

const taken = new Set();

// Ports that stay the same while nodes come and go, below those that systems give to connections.
async function freePort() {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 10_000);
    if (taken.has(port)) continue;
    const server = createServer().listen(port, '127.0.0.1');
    const free = await once(server, 'listening').then(() => true, () => false); // an error event rejects
    server.close();
    if (free) {
      taken.add(port);
      return port;
    }
  }
}

// Starts the proxy of the page, on other ports.
async function startProxy(name, nodes) {
  const { version, main, args } = proxies[name];
  try {
    execFileSync(name, version, { env, stdio: 'ignore' });
  } catch {
    throw new Error(`${name} is missing; \`apt-get install ${name}\` installs it`);
  }
  const port = await freePort();
  const [, snippet] = docs.match(new RegExp(`\`\`\`${name}\n([^]*?)\`\`\``));
  const ports = { 8080: port, 8081: nodes[0].port, 8082: nodes[1].port };
  const file = join(folder, `${name}-${port}`);
  await writeFile(file, main(snippet.replace(/127\.0\.0\.1:(808\d)/g, (_, port) => `127.0.0.1:${ports[port]}`), file));
  const child = spawn(name, args(file), { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const exited = once(child, 'exit');
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', text => { output += text; });
  const proxy = {
    url: `http://127.0.0.1:${port}`,
    get output() { return output; },
    // Which node answers those who are new.
    async node() {
      const response = await fetch(`${proxy.url}/socket.io/?EIO=4&transport=polling`, { method: 'OPTIONS' });
      return response.headers.get('set-cookie')?.match(/node=([ab]);/)?.[1];
    },
    // Waits until a node does.
    sees: node => eventually(async () => assert.equal(await proxy.node(), node, output)),
    stop() {
      child.kill('SIGKILL'); // of nginx the master
      return exited;
    }
  };
  if (name === 'nginx') proxy.stop = () => { child.kill('SIGTERM'); return exited; };
  return proxy;
}

// Nodes and clients --------------------------------------------------------------

const node = async name => ({ name, port: await freePort() });

function startNode({ port }, options, shutdownTime) {
  const auth = [{ secret, namespaces: ['/'], maxPending: 5000, timeout: 30_000, ...options }];
  return startProgram('.', 'server', [JSON.stringify({ auth, addr: `127.0.0.1:${port}`, shutdownTime })]);
}

// Keeps the cookies of one client, as a browser does.
class Cookies extends Agent {
  #cookies = new Map();

  addRequest(request, options) {
    if (this.#cookies.size) request.setHeader('Cookie', [...this.#cookies].map(pair => pair.join('=')).join('; '));
    request.on('response', ({ headers }) => {
      for (const cookie of headers['set-cookie'] ?? []) this.#cookies.set(...cookie.split(';')[0].split('='));
    });
    super.addRequest(request, options);
  }
}

// Connects a client, and authenticates it each time that it comes.
async function enter(variant, proxy, handshake) {
  const token = sign();
  const options = { agent: new Cookies() };
  if (handshake) options[variant.io === io4 ? 'auth' : 'query'] = { token };
  const client = connect(variant, proxy.url, options);
  client.came = []; // when
  client.socket.on('welcome', () => client.came.push(Date.now()));
  if (!handshake) client.socket.on('connect', () => client.socket.emit('authenticate', { token }));
  await client.until('welcome');
  return client;
}

// Nobody was refused, and nobody lost what was on its way.
function undisturbed(client) {
  for (const event of ['error', 'connect_error', 'unauthorized']) assert.deepEqual(client.all(event), [], `${event} among ${JSON.stringify(client.log)}`);
  for (const [reason] of client.all('disconnect')) assert.equal(reason, 'transport close');
}

// Tests --------------------------------------------------------------------------

const each = 100; // clients, for each proxy and mode

describe('rolling restart', { concurrency: true }, () => {
  for (const name of Object.keys(proxies)) {
    for (const handshake of [true, false]) {
      test(`${name}, ${handshake ? 'handshake' : 'round trip'}`, limit, async () => {
        const nodes = [await node('a'), await node('b')];
        const proxy = await startProxy(name, nodes);
        const clients = [];
        let programs = [];
        try {
          const start = one => startNode(one, { handshake }, 4000);
          programs = await Promise.all(nodes.map(start));
          for (const { name } of nodes) await proxy.sees(name);
          await inParallel(each, async i => { clients.push(await enter(variants[i % variants.length], proxy, handshake)); });

          for (const [i, one] of nodes.entries()) {
            await programs[i].stop();
            await eventually(() => assert.ok(clients.every(client => client.socket.connected)));
            programs[i] = await start(one);
            await proxy.sees(one.name);
          }

          let moved = 0;
          for (const [i, client] of clients.entries()) {
            await eventually(() => assert.equal(client.all('welcome').length, client.all('disconnect').length + 1));
            assert.equal(await client.ask('echo', i), i);
            undisturbed(client);
            moved += client.all('disconnect').length;
          }
          // Everybody who was on the first goes to the second, and from there back.
          assert.ok(moved >= each && moved <= 2 * each, `${moved} moves`);
        } finally {
          for (const client of clients) client.close();
          await Promise.all(programs.map(program => program.stop()));
          await proxy.stop();
        }
      });
    }
  }
});

test('the reconnects of 1000 clients are spread', limit, async () => {
  const nodes = [await node('a'), await node('b')];
  const proxy = await startProxy('haproxy', nodes);
  const clients = [];
  let second;
  try {
    const shutdownTime = 8000;
    const first = await startNode(nodes[0], { handshake: true }, shutdownTime);
    await proxy.sees('a');
    await inParallel(1000, async i => { clients.push(await enter(variants[i % variants.length], proxy, true)); }, 50);
    second = await startNode(nodes[1], { handshake: true });
    await proxy.sees('b');

    const began = Date.now();
    await first.stop();
    await eventually(() => {
      const missing = clients.filter(client => client.came.length !== 2);
      assert.equal(missing.length, 0, `${missing.length} are missing, the first has seen ${JSON.stringify(missing[0]?.log)}`);
    });
    clients.forEach(undisturbed);
    const came = clients.map(client => client.came[1]).sort((a, b) => a - b);
    const told = `they came back after ${came.filter((_, i) => i % 50 === 0).map(ms => ms - began)} ms`;
    assert.ok(came.at(-1) - came[0] > 5000, told); // three quarters of the time are 6000
    // A sixth in each second; on a busy machine some come late.
    assert.ok(came.every((ms, i) => i < 400 || ms - came[i - 400] > 1000), told);
  } finally {
    for (const client of clients) client.close();
    await second?.stop();
    await proxy.stop();
  }
});

// A node is told to go, and Redis is restarted: whoever comes meanwhile is told to come again.
for (const [name, handshake] of [['nginx', true], ['haproxy', false]]) {
  test(`rolling restart with Redis restarted in the middle: ${name}, ${handshake ? 'handshake' : 'round trip'}`, limit, async () => {
    const nodes = [await node('a'), await node('b')];
    let redis = await startRedis(folder);
    const proxy = await startProxy(name, nodes);
    const clients = [];
    let programs = [];
    try {
      const start = one => startNode(one, { handshake, timeout: 1000, redis: `127.0.0.1:${redis.port}` }, 4000);
      programs = await Promise.all(nodes.map(start));
      for (const { name } of nodes) await proxy.sees(name);
      await inParallel(200, async i => { clients.push(await enter(variants[i % variants.length], proxy, handshake)); }, 50);

      for (const [i, one] of nodes.entries()) {
        const gone = programs[i].stop();
        if (i === 0) {
          await redis.stop();
          redis = await startRedis(folder, redis.port);
        }
        await gone;
        programs[i] = await start(one);
        await proxy.sees(one.name);
      }

      const inAgain = ({ log }) => log.findLastIndex(([event]) => event === 'welcome') > log.findLastIndex(([event]) => event === 'disconnect');
      await eventually(() => {
        const lost = clients.filter(client => !inAgain(client));
        assert.equal(lost.length, 0, `${lost.length} are lost, the first has seen ${JSON.stringify(lost[0]?.log)}`);
      });
      for (const [i, client] of clients.entries()) {
        assert.equal(await client.ask('echo', i), i);
        for (const [reason] of client.all('disconnect')) assert.notEqual(reason, 'io server disconnect');
      }
    } finally {
      for (const client of clients) client.close();
      await Promise.all(programs.map(program => program.stop()));
      await proxy.stop();
      await redis.stop();
    }
  });
}
