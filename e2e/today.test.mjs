// Clients 3.x and 4.x: Engine.IO 4 and Socket.IO protocol 5.
import { test, describe } from 'node:test';
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { isUnauthorizedError } from '@thream/socketio-jwt/build/UnauthorizedError.js';
import io2 from 'socket.io-client';
import {
  ago, aMoment, badTokens, connect, eventually, inParallel, refusal, secret, sign, startServer, strict, strictToken,
  unauthorized, within, withServer, Witness
} from './helper.mjs';

const limit = { timeout: 60_000 };
const require = createRequire(import.meta.url);
const red = { namespace: '/', subject: 'red' };
const clients = {
  '3.1.3': require('socket.io-client-3').io,
  '4.3.2': require('socket.io-client-4.3').io,
  '4.5.4': require('socket.io-client-4.5').io,
  '4.8.4': require('socket.io-client-4').io
};
// Since 4.4 a socket that was refused is gone for good.
const staysAway = client => client > '4.4';
const transports = { polling: ['polling'], websocket: ['websocket'], upgrade: ['polling', 'websocket'] };
const matrix = Object.entries(clients).flatMap(([client, io]) =>
  Object.entries(transports).map(([kind, list]) => ({ name: `client ${client}, ${kind}`, client, io, kind, transports: list })));
const latest = matrix.filter(({ client }) => client === '4.8.4');

// A connect_error as the Witness sees it, in the form of the contract.
const refused = client => client.until('connect_error').then(([{ message, data }]) => ({ message, data }));
const asRefused = ([, { message, code }]) => ({ message, data: refusal(code, message) });

for (const variant of matrix) {
  describe(variant.name, { concurrency: true }, () => {
    test('auth.token, events, acknowledgements and binary both ways', limit, () =>
      withServer({ handshake: true }, async server => {
        const client = connect(variant, server.url, { auth: { token: sign() } });
        assert.deepEqual(await client.until('welcome'), [red]);
        if (variant.kind === 'upgrade') await client.upgraded();
        assert.deepEqual(await client.ask('whoami'), red);
        assert.equal(await client.ask('echo', 'é😀\u001e'), 'é😀\u001e');
        assert.notEqual(client.socket.id, client.socket.io.engine.id); // knowing the one does not give the other
        client.socket.on('question', (question, answer) => answer('no, ' + question));
        client.socket.emit('ask me', 'now?');
        assert.deepEqual(await client.until('answered'), ['no, now?']);
        client.socket.emit('binary', 1, Buffer.from([0, 4, 30, 255]));
        const [n, data] = await client.until('binary');
        assert.deepEqual([n, [...data]], [1, [0, 4, 30, 255]]);
        const heard = client.until('news');
        await server.broadcast('/', 'news', 'for this one', client.socket.id);
        assert.deepEqual(await heard, ['for this one']);
        client.close();
      }));

    test('a refused client is told why, once', limit, () =>
      withServer({ handshake: true, timeout: 600 }, async server => {
        const client = connect(variant, server.url, { auth: { token: 'nonsense' } });
        assert.deepEqual(await refused(client), { message: 'jwt malformed', data: refusal('invalid_token', 'jwt malformed') });
        assert.deepEqual(client.all('connect'), []);
        await aMoment();
        assert.equal((await server.stats()).handshakes, 1);
        assert.deepEqual((await server.stats()).unauthorized, ['/ invalid_token']);
        await eventually(async () => assert.equal((await server.stats()).sockets, 0)); // at the deadline, or before
        await aMoment();
        assert.equal((await server.stats()).handshakes, 1, 'it came back');
        assert.equal(client.all('connect_error').length, 1);
        if (staysAway(variant.client)) assert.equal(client.socket.active, false);
      }));

    test('a new token in connect_error, then connect()', limit, () =>
      withServer({ handshake: true }, async server => {
        const client = connect(variant, server.url, { auth: { token: sign({ exp: ago(10) }) } });
        client.socket.on('connect_error', () => {
          client.socket.auth.token = sign();
          client.socket.connect();
        });
        assert.deepEqual(await client.until('welcome'), [red]);
        assert.equal(client.all('connect_error').length, 1);
        await aMoment();
        assert.deepEqual(client.all('disconnect'), []);
        assert.deepEqual(await client.ask('whoami'), red);
      }));

    test('round trip', limit, () =>
      withServer({}, async server => {
        const client = connect(variant, server.url);
        await client.until('connect');
        client.socket.emit('authenticate', { token: sign() });
        assert.deepEqual(await client.until('welcome'), [red]);
        client.socket.emit('authenticate', { token: sign({ exp: ago(10) }) });
        assert.deepEqual(await client.until('unauthorized'), [unauthorized('invalid_token', 'jwt expired')]);
        client.socket.emit('authenticate', { token: sign() });
        await client.until('authenticated', 2);
        assert.deepEqual(await client.ask('whoami'), red);

        const bad = connect(variant, server.url);
        bad.socket.on('connect', () => bad.socket.emit('authenticate', { token: 'nonsense' }));
        await bad.until('disconnect');
        assert.deepEqual(bad.log, [['connect'], ['unauthorized', unauthorized('invalid_token', 'jwt malformed')], ['disconnect', 'io server disconnect']]
          .map((entry, i) => bad.log[i].length > entry.length ? [...entry, ...bad.log[i].slice(entry.length)] : entry));

        const early = connect(variant, server.url, { auth: { token: sign() } });
        await early.until('welcome');
        assert.deepEqual(early.log.map(([event]) => event), ['connect', 'authenticated', 'welcome']);
        early.socket.emit('authenticate', { token: sign() });
        await early.until('authenticated', 2);
        const wrong = connect(variant, server.url, { auth: { token: 7 } });
        assert.equal((await refused(wrong)).message, 'invalid token datatype');
      }));

    test('who does not authenticate in time', limit, () =>
      withServer({ timeout: 300 }, async server => {
        const client = connect(variant, server.url);
        await client.until('disconnect');
        assert.deepEqual(client.all('unauthorized'), [[unauthorized('timeout', 'authentication timed out')]]);
        assert.equal(client.all('disconnect')[0][0], 'io server disconnect');
        await eventually(async () => assert.equal((await server.stats()).sockets, 0));
      }));

    for (const handshake of [true, false]) {
      const enter = async (server, token) => {
        const client = connect(variant, server.url, { auth: { token } });
        await client.until('welcome');
        return client;
      };
      test(`the newest session of a user stays, ${handshake ? 'handshake' : 'round trip'}`, limit, () =>
        withServer({ singleSession: true, handshake }, async server => {
          const first = await enter(server, sign({ jti: 'first' }));
          const other = await enter(server, sign({ sub: 'blue' }));
          const second = await enter(server, sign({ jti: 'second' }));
          await first.until('disconnect');
          assert.deepEqual(first.all('unauthorized'), [[unauthorized('session_replaced', 'session replaced')]]);
          assert.equal(first.all('disconnect')[0][0], 'io server disconnect');
          await aMoment(); // it stays away
          assert.equal((await server.stats()).handshakes, 3);
          assert.deepEqual(await second.ask('whoami'), red);
          assert.deepEqual(await other.ask('whoami'), { namespace: '/', subject: 'blue' });
        }));

      test(`last words of a session, ${handshake ? 'handshake' : 'round trip'}`, limit, () =>
        withServer({ handshake, revocations: true }, async server => {
          const expires = await enter(server, sign({ exp: ago(-2) }));
          const revoked = await enter(server, sign({ jti: 'one' }));
          const kicked = await enter(server, sign({ sub: 'blue' }));
          await server.post('/revoke', { id: 'one' });
          await server.post('/disconnect', { subject: 'blue', code: 'kicked', message: 'go' });
          for (const [client, why] of [[expires, unauthorized('invalid_token', 'jwt expired')], [revoked, unauthorized('invalid_token', 'jwt revoked')], [kicked, unauthorized('kicked', 'go')]]) {
            await client.until('disconnect');
            assert.deepEqual(client.all('unauthorized'), [[why]]);
            assert.equal(client.all('disconnect')[0][0], 'io server disconnect');
          }
          await eventually(async () => assert.equal((await server.stats()).sockets, 0));
          assert.equal((await server.stats()).handshakes, 3);
        }));
    }

    test('namespaces: alone, unknown, left and joined again', limit, () =>
      withServer({ handshake: true, namespaces: ['/', '/admin'], timeout: 500 }, async server => {
        const admin = connect(variant, server.url + '/admin', { auth: { token: sign() } });
        assert.deepEqual(await admin.until('welcome'), [{ namespace: '/admin', subject: 'red' }]);
        assert.deepEqual((await server.stats()).connected, ['/admin']); // the root is none of its business
        const unknown = new Witness(admin.socket.io.socket('/nowhere', {}));
        unknown.socket.connect();
        assert.equal((await refused(unknown)).message, 'Invalid namespace');
        await new Promise(resolve => setTimeout(resolve, 800)); // no deadline is due
        assert.equal(await admin.ask('echo', 'x'.repeat(20_000)), 'x'.repeat(20_000));

        const root = new Witness(admin.socket.io.socket('/', { auth: {} }));
        root.socket.connect(); // on the session of /admin
        await root.until('welcome');
        root.socket.disconnect();
        await eventually(async () => assert.deepEqual((await server.stats()).disconnected, ['/']));
        root.socket.connect();
        await root.until('welcome', 2);
        admin.socket.disconnect();
        admin.socket.connect();
        await admin.until('welcome', 2);
        assert.deepEqual(await root.ask('whoami'), red);
      }));

    test('the hooks one by one', limit, async () => {
      for (const handshake of [true, false]) {
        await withServer({ handshake, timeout: 600 }, async server => {
          const client = connect(variant, server.url, { auth: { token: sign() } });
          await client.until('connect');
          assert.deepEqual(await client.ask('whoami'), red);
          const bad = connect(variant, server.url, { auth: { token: 'nonsense' } });
          assert.equal((await refused(bad)).message, 'jwt malformed');
          client.socket.disconnect().connect();
          await client.until('connect', 2);
          assert.deepEqual(await client.ask('whoami'), red);
        }, { hooks: true, gate: true });
      }
    });

    test('a client of @thream/socketio-jwt', limit, () =>
      withServer({ handshake: true }, async server => {
        const good = connect(variant, server.url, { auth: { token: `Bearer ${sign()}` } });
        await good.until('welcome');
        const bad = connect(variant, server.url, { auth: { token: `Bearer ${sign({ exp: ago(10) })}` } });
        const [error] = await bad.until('connect_error');
        assert.ok(isUnauthorizedError(error));
        const none = connect(variant, server.url);
        assert.deepEqual((await none.until('connect_error'))[0].data, refusal('credentials_required', 'no token provided'));
      }));
  });
}

describe('every refusal', { concurrency: 4 }, () => {
  for (const variant of [...latest, matrix[0]]) {
    test(variant.name, limit, () =>
      withServer({ ...strict, handshake: true, timeout: 2000 }, async server => {
        const ok = connect(variant, server.url, { auth: { token: strictToken() } });
        await ok.until('welcome');
        for (const [name, [token, why]] of Object.entries(badTokens)) {
          if (why.code === 'invalid_secret') continue; // below
          const client = connect(variant, server.url, { auth: { token } });
          assert.deepEqual(await refused(client), asRefused([name, why]), name);
          client.close();
        }
        for (const [options, code, message] of [
          [{}, 'credentials_required', 'no token provided'],
          [{ auth: {} }, 'credentials_required', 'no token provided'],
          [{ auth: 'token' }, 'invalid_token', 'invalid token datatype'],
          [{ auth: ['token'] }, 'invalid_token', 'invalid token datatype'],
          [{ auth: { token: '' } }, 'invalid_token', 'invalid token datatype'],
          [{ auth: { token: 'nonsense' }, query: { token: strictToken() } }, 'invalid_token', 'jwt malformed'],
          [{ query: { token: 'nonsense' } }, 'invalid_token', 'jwt malformed']
        ]) {
          const client = connect(variant, server.url, options);
          assert.deepEqual(await refused(client), { message, data: refusal(code, message) }, JSON.stringify(options));
          client.close();
        }
        for (const options of [
          { auth: { token: strictToken() }, query: { token: 'nonsense' } }, // stale, and does not matter
          { query: { token: strictToken() } },
          { extraHeaders: { Authorization: `Bearer ${strictToken()}` } }
        ]) {
          const client = connect(variant, server.url, options);
          await client.until('welcome');
          client.close();
        }
        // Not told, but the connection ends when its time is up, and the client comes back.
        const began = Date.now();
        const waits = connect(variant, server.url, { auth: { token: strictToken({}, { header: { kid: 'unknown' } }) } });
        await within('reconnect', resolve => waits.socket.io.once('reconnect', resolve));
        assert.ok(Date.now() - began > 1900, 'too early');
        assert.deepEqual(waits.all('connect_error'), []);
      }));
  }
});

describe('one room for all', () => {
  for (const variant of latest) {
    test(variant.name, limit, () =>
      withServer({ handshake: true }, async server => {
        const old = connect({ ...variant, io: io2 }, server.url, { query: { token: sign() } });
        const now = connect(variant, server.url, { auth: { token: sign({ sub: 'blue' }) } });
        await old.until('welcome');
        await now.until('welcome');
        await server.broadcast('/', 'news', 'for everybody', 'lobby');
        for (const client of [old, now]) assert.deepEqual(await client.until('news'), ['for everybody']);
      }));
  }
});

test('50 clients, 200 messages each way, through the upgrade', { timeout: 120_000 }, () =>
  withServer({ handshake: true }, async server => {
    const variant = latest.find(({ kind }) => kind === 'upgrade');
    await inParallel(50, async () => {
      const client = connect(variant, server.url, { auth: { token: sign() } });
      await client.until('connect');
      for (let i = 0; i < 200; i++) {
        client.socket.emit('number', i);
        if (i % 20 === 0) await new Promise(resolve => setTimeout(resolve, 2));
      }
      await client.until('number', 200);
      assert.deepEqual(client.all('number').map(([n]) => n), Array.from({ length: 200 }, (_, i) => i));
      await client.upgraded();
      client.close();
    }, 50);
  }));

test('emitWithAck, timeout, retries, volatile', limit, () =>
  withServer({ handshake: true }, async server => {
    for (const variant of latest) {
      const client = connect(variant, server.url, { auth: { token: sign() }, retries: 2, ackTimeout: 1000 });
      await client.until('welcome');
      assert.equal(await client.socket.emitWithAck('echo', 1), 1);
      await client.socket.timeout(1000).emitWithAck('nothing', 'x');
      // The client drops a volatile event while a request of its is on the way.
      await eventually(() => assert.ok(client.socket.io.engine.transport.writable));
      client.socket.volatile.emit('number', 7);
      assert.deepEqual(await client.until('number'), [7]);
      await aMoment();
      assert.equal(client.all('number').length, 1);
      client.close();
    }
  }));

test('a fresh token for each connection, also after the server restarts', limit, async () => {
  for (const variant of latest) {
    const servers = [await startServer({ handshake: true })];
    let tokens = 0;
    const client = connect(variant, servers[0].url, { auth: answer => setTimeout(() => answer({ token: sign({ n: ++tokens }) }), 5) });
    await client.until('welcome');
    client.socket.io.engine.close(); // as a lost connection
    await client.until('welcome', 2);
    assert.equal(tokens, 2);
    await servers[0].stop();
  }
});
