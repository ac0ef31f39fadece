// Two nodes of examples/cluster on one Redis, by redisadapter and redisrevoke; in one test with a third of
// Node's socket.io 4.
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { spawn, execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createConnection, createServer } from 'node:net';
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Server } from 'socket.io';
import { createAdapter } from '@socket.io/redis-adapter';
import { Emitter } from '@socket.io/redis-emitter';
import { createClient } from 'redis';
import { io as io4 } from 'socket.io-client-4';
import jwt from 'jsonwebtoken';
import { startRedis } from './redis.mjs';
import { connect, eventually, here, matrix, refusal, secret, startProgram, unauthorized } from './helper.mjs';

const limit = { timeout: 60_000 };
let folder, redis, nodes;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'socketiojwt-cluster-'));
  redis = await startRedis(folder);
  nodes = await Promise.all(['one', 'two'].map(name => startProgram('../examples', 'cluster', [
    '-addr', '127.0.0.1:0', '-name', name, '-redis', `127.0.0.1:${redis.port}`, '-client', join(here, 'node_modules/socket.io-client-4/dist')
  ], { JWT_SECRET: secret })));
}, limit);

after(async () => {
  try {
    await Promise.all((nodes ?? []).map(node => node.stop()));
  } finally {
    await redis?.stop();
    await rm(folder, { recursive: true });
  }
}, limit);

async function login(node, user) {
  const response = await fetch(`${node.url}/login`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ user, password: `${user}-demo` })
  });
  assert.equal(response.status, 200);
  return (await response.json()).token;
}

const request = (node, path, token, method = 'GET') =>
  fetch(`${node.url}${path}`, { method, headers: { Authorization: `Bearer ${token}` } });

async function socketsOf(node, user, token) {
  const response = await request(node, `/online?user=${user}`, token);
  assert.equal(response.status, 200, await response.clone().text());
  return (await response.json()).sockets;
}

for (const variant of matrix) {
  test(`cluster: ${variant.name}`, limit, async () => {
    const [one, two] = nodes;
    // A new Redis makes the nodes wait for each other: clients are told server_busy and come back.
    const [red, blue] = [await login(one, 'red'), await login(two, 'blue')];
    const tab = (node, token) => {
      const client = connect(variant, node.url, { query: { token } });
      client.said = [];
      client.socket.on('chat', message => client.said.push(message));
      return client;
    };
    const tabs = [tab(one, red), tab(two, red)];
    const other = tab(two, blue);
    for (const client of tabs) assert.deepEqual(await client.until('welcome'), ['red']);
    assert.deepEqual(await other.until('welcome'), ['blue']);

    const seen = other.all('disconnect').length;

    // One's own tabs on two nodes, and somebody else: all hear what is said, once.
    tabs[0].socket.emit('chat', 'from node one');
    await eventually(() => assert.equal(other.said.length, 1));
    other.socket.emit('chat', 'from node two');
    for (const client of [...tabs, other]) {
      await eventually(() => assert.deepEqual(client.said, [
        { from: 'red', text: 'from node one', node: 'one' },
        { from: 'blue', text: 'from node two', node: 'two' }
      ]));
    }

    // Who is online is the same everywhere.
    for (const node of nodes) {
      assert.equal(await socketsOf(node, 'red', blue), 2);
      assert.equal(await socketsOf(node, 'blue', blue), 1);
      assert.equal(await socketsOf(node, 'green', blue), 0);
    }

    // One node ends what is on both.
    assert.equal((await request(two, '/logout-everywhere', red, 'POST')).status, 204);
    for (const client of tabs) {
      assert.deepEqual(await client.until('unauthorized'), [unauthorized('logged_out', 'logged out everywhere')]);
      // The last, as a client that was told server_busy has seen one before.
      await eventually(() => assert.deepEqual(client.all('disconnect').at(-1), ['io server disconnect']));
    }
    for (const node of nodes) {
      const again = connect(variant, node.url, { query: { token: red } });
      assert.deepEqual(await again.until('error'), [refusal('invalid_token', 'jwt revoked')]);
      assert.equal((await request(node, '/online?user=red', red)).status, 401);
      await eventually(async () => assert.equal(await socketsOf(node, 'red', blue), 0));
    }
    assert.equal(other.all('disconnect').length, seen);
    assert.ok(other.socket.connected);

    // A token of a later second is good.
    await eventually(async () => {
      const response = await request(one, '/online?user=red', await login(one, 'red'));
      assert.equal(response.status, 200);
    });
    other.close();
    await eventually(async () => assert.equal(await socketsOf(one, 'blue', blue), 0));
  });
}

// A server of Node's with the same secret, and the rooms of examples/cluster.
async function startNodeServer() {
  const [pub, sub, script] = await Promise.all([1, 2, 3].map(async () => {
    const client = createClient({ url: `redis://127.0.0.1:${redis.port}` });
    client.on('error', () => {});
    await client.connect();
    return client;
  }));
  const http = createHttpServer();
  const io = new Server(http, { adapter: createAdapter(pub, sub) });
  io.use((socket, next) => {
    try {
      socket.data.identity = jwt.verify(socket.handshake.auth.token, secret).sub;
      next();
    } catch (error) {
      next(error);
    }
  });
  io.on('connection', socket => {
    const user = socket.data.identity;
    socket.join([`user:${user}`, `logout:${user}`]);
    socket.on('chat', text => io.emit('chat', { from: user, text }));
    socket.emit('welcome', user);
  });
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  return {
    url: `http://127.0.0.1:${http.address().port}`,
    io,
    emitter: new Emitter(script), // what a script without a server of its own uses
    stop: async () => {
      await io.close();
      await Promise.all([pub, sub, script].map(client => client.quit()));
    }
  };
}

test('cluster: with a node of Node', limit, async () => {
  const [one, two] = nodes;
  const variant = { io: io4, transports: ['websocket'] };
  const node = await startNodeServer();
  try {
    let red, blue;
    const enter = async (url, token) => {
      const client = connect(variant, url, { auth: { token } });
      client.said = [];
      client.socket.on('chat', ({ from, text }) => client.said.push(`${from}: ${text}`));
      await client.until('welcome');
      return client;
    };
    let tabs;
    await eventually(async () => { // a token of the second of red's last logout is refused
      [red, blue] = [await login(one, 'red'), await login(two, 'blue')];
      assert.equal((await request(one, '/online?user=red', red)).status, 200);
    });
    tabs = [await enter(one.url, red), await enter(two.url, red), await enter(node.url, red)];
    const other = await enter(node.url, blue);
    await eventually(async () => assert.equal(await node.io.of('/').adapter.serverCount(), 3));

    // Chat, from each node and from a script.
    const all = [...tabs, other];
    const want = [];
    for (const [client, line] of [[tabs[0], 'red: from one'], [tabs[1], 'red: from two'], [other, 'blue: from Node']]) {
      client.socket.emit('chat', line.split(': ')[1]);
      want.push(line);
      for (const each of all) await eventually(() => assert.deepEqual(each.said, want));
    }
    node.emitter.emit('chat', { from: 'script', text: 'to all' });
    node.emitter.to('user:red').except('user:blue').emit('chat', { from: 'script', text: 'to red' });
    for (const each of tabs) await eventually(() => assert.deepEqual(each.said, [...want, 'script: to all', 'script: to red']));
    await eventually(() => assert.deepEqual(other.said, [...want, 'script: to all']));

    // Presence, asked on each.
    for (const asked of nodes) {
      assert.equal(await socketsOf(asked, 'red', blue), 3);
      assert.equal(await socketsOf(asked, 'blue', blue), 1);
    }
    const seen = await node.io.in('user:red').fetchSockets();
    assert.deepEqual(seen.map(({ data }) => data.identity), ['red', 'red', 'red']);

    // Red logs out everywhere: nodes of Node are told to disconnect.
    assert.equal((await request(two, '/logout-everywhere', red, 'POST')).status, 204);
    for (const each of tabs.slice(0, 2)) assert.deepEqual(await each.until('unauthorized'), [unauthorized('logged_out', 'logged out everywhere')]);
    for (const each of tabs) assert.deepEqual(await each.until('disconnect'), ['io server disconnect', ...each.all('disconnect')[0].slice(1)]);
    for (const asked of nodes) await eventually(async () => assert.equal(await socketsOf(asked, 'red', blue), 0));
    assert.ok(other.socket.connected);
    other.close();
  } finally {
    await node.stop();
  }
});

test('cluster: without Redis a node is on its own, and then it is not', limit, async () => {
  const variant = matrix.find(({ kind }) => kind === 'websocket');
  const clients = await Promise.all([[0, 'red'], [0, 'blue'], [1, 'blue']].map(async ([i, user]) => {
    const node = nodes[i];
    let client;
    await eventually(async () => { // a token of the second of red's logout is refused
      client = connect(variant, node.url, { query: { token: await login(node, user) } });
      client.said = [];
      client.socket.on('chat', ({ text }) => client.said.push(text));
      assert.deepEqual(await Promise.race([client.until('welcome'), client.until('disconnect')]), [user]);
    });
    return client;
  }));
  const [red, near, far] = clients;
  const token = await login(nodes[0], 'blue');

  await redis.stop();
  red.socket.emit('chat', 'while Redis is away');
  await eventually(() => assert.deepEqual(near.said, ['while Redis is away']));
  redis = await startRedis(folder, redis.port);
  await eventually(async () => assert.equal(await socketsOf(nodes[0], 'blue', token), 2));
  red.socket.emit('chat', 'when it is back');
  await eventually(() => assert.deepEqual(far.said, ['when it is back']));
  for (const client of clients) {
    assert.deepEqual(client.all('disconnect'), []);
    client.close();
  }
});

test('the cluster says what is missing', limit, async () => {
  await assert.rejects(startProgram('../examples', 'cluster', ['-client', join(here, 'nowhere')], { JWT_SECRET: secret }), /make demo-cluster/);
});
