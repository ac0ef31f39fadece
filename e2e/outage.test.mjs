// Redis is down while clients reconnect. When it is back, all of them are in again.
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startRedis } from './redis.mjs';
import { connect, matrix, sign, withServer } from './helper.mjs';

const limit = { timeout: 60_000 };
const require = createRequire(import.meta.url);
const variants = [...matrix, ...['socket.io-client-3', 'socket.io-client-4'].flatMap(name =>
  [['polling'], ['websocket'], ['polling', 'websocket']].map(transports => ({ name: `${name}, ${transports}`, io: require(name).io, transports })))];
let folder, redis;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'socketiojwt-outage-'));
  redis = await startRedis(folder);
}, limit);

after(async () => {
  await redis?.stop();
  await rm(folder, { recursive: true });
}, limit);

for (const handshake of [true, false]) {
  test(handshake ? 'handshake' : 'round trip', limit, () =>
    withServer({ handshake, timeout: 1000, redis: `127.0.0.1:${redis.port}` }, async server => {
      const clients = variants.flatMap(variant => Array.from({ length: 3 }, () => {
        const query = handshake ? { token: sign() } : {};
        const client = connect(variant, server.url, { query, auth: query });
        if (!handshake) client.socket.on('connect', () => client.socket.emit('authenticate', { token: sign() }));
        client.name = variant.name;
        return client;
      }));
      const welcomed = n => Promise.all(clients.map(client => client.until('welcome', n)));
      await welcomed(1); // a Redis that is new lets nobody in for three seconds

      await redis.stop();
      for (const { socket } of clients) socket.io.engine.close(); // as when the connection is lost
      await Promise.all(clients.map(client => client.until('disconnect')));
      await new Promise(resolve => setTimeout(resolve, 2500)); // they come, and are told that it is busy
      for (const client of clients) assert.equal(client.all('welcome').length, 1, client.name);

      redis = await startRedis(folder, redis.port);
      await welcomed(2);
      for (const client of clients) {
        const reasons = client.all('disconnect').map(([reason]) => reason);
        assert.ok(!reasons.includes('io server disconnect'), `${client.name}: ${reasons}`);
        client.close();
      }
    }));
}
