// A node of Node's socket.io 4 with its Redis adapter, for the tests of redisadapter.
//
//   node peer.js <port of Redis> <prefix>
//
// It prints the port it listens on, then answers each line of standard input, JSON, with a line: {"ok":…} or
// {"error":…}. It ends with its standard input. What a line may ask for is in `operations`.
'use strict';

const { createServer } = require('node:http');
const { createInterface } = require('node:readline');
const { Server } = require('socket.io');
const { createAdapter } = require('@socket.io/redis-adapter');
const { Emitter } = require('@socket.io/redis-emitter');
const { createClient } = require('redis');

const [port, key] = process.argv.slice(2);

const connect = async () => {
  const client = createClient({
    url: `redis://127.0.0.1:${port}`,
    socket: { reconnectStrategy: retries => Math.min(50 * retries, 500) }
  });
  client.on('error', () => {}); // it connects again
  await client.connect();
  return client;
};

// In what tests send, {"$bytes": "text"} is binary and {"$date": ms} a Date.
const revive = (name, value) => {
  if (value?.$bytes !== undefined) return Buffer.from(value.$bytes);
  if (value?.$date !== undefined) return new Date(value.$date);
  return value;
};

const select = (from, { rooms = [], except = [], flags = [] }) => {
  for (const room of rooms) from = from.to(room);
  for (const room of except) from = from.except(room);
  for (const flag of flags) from = from[flag];
  return from;
};

(async () => {
  const [pub, sub] = await Promise.all([connect(), connect()]);
  const server = createServer();
  const io = new Server(server, { adapter: createAdapter(pub, sub, { key, requestsTimeout: 2000 }) });
  const emitter = new Emitter(pub, { key });

  const welcome = socket => {
    const { name } = socket.handshake.query;
    socket.data.identity = name;
    socket.join('user:' + name);
    socket.on('join', (room, ack) => { socket.join(room); ack(); });
    socket.on('mark', ack => ack());
    socket.on('shout', (...args) => io.of(socket.nsp.name).emit('shouted', ...args));
  };
  io.on('connection', welcome);
  io.of('/side').on('connection', welcome);

  const operations = {
    // Emits `args` `count` times, with the number of each behind them.
    emit: o => {
      const to = select(o.emitter ? emitter.of(o.nsp ?? '/') : io.of(o.nsp ?? '/'), o);
      for (let i = o.from ?? 0; i < (o.from ?? 0) + (o.count ?? 1); i++) {
        to.emit(o.event, ...(o.args ?? []), ...(o.count ? [i] : []));
      }
    },
    acknowledged: async o => select(io, o).timeout(o.timeout).emitWithAck(o.event, ...(o.args ?? [])),
    fetch: async o => (await select(io, o).fetchSockets()).map(({ id, rooms, data, handshake }) =>
      ({ id, rooms: [...rooms], data, handshake: Object.keys(handshake) })),
    rooms: async () => [...await io.of('/').adapter.allRooms()],
    join: o => { select(o.emitter ? emitter : io, o).socketsJoin(o.join); },
    leave: o => { select(o.emitter ? emitter : io, o).socketsLeave(o.leave); },
    disconnect: o => { select(o.emitter ? emitter : io, o).disconnectSockets(o.close); },
    servers: () => io.of('/').adapter.serverCount(),
    ready: () => pub.isReady && sub.isReady
  };

  createInterface({ input: process.stdin }).on('line', async line => {
    let answer;
    try {
      const request = JSON.parse(line, revive);
      answer = { ok: (await operations[request.op](request)) ?? null };
    } catch (error) {
      answer = { error: String(error) };
    }
    process.stdout.write(JSON.stringify(answer) + '\n');
  }).on('close', () => process.exit());

  server.listen(0, '127.0.0.1', () => process.stdout.write(server.address().port + '\n'));
})();
