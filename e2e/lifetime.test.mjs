// How a session ends, and how a client keeps it or comes back: expiry, refresh, revocation, logout.
import { test, describe } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ago, aMoment, connect, eventually, here, matrix, sign, unauthorized, within, withServer, Witness } from './helper.mjs';

const limit = { timeout: 60_000 };
const red = { namespace: '/', subject: 'red' };
const expired = unauthorized('invalid_token', 'jwt expired');
const revoked = unauthorized('invalid_token', 'jwt revoked');

// A client that comes back by itself, given its io(). The package in ../client does this for 2.x to 4.x.
const readme = new Function('io', readFileSync(join(here, 'comeback.js'), 'utf8') + 'return connect;');

// A token whose exp is that many seconds away. exp counts in whole seconds, so it is up to one more.
const shortLived = (seconds, claims) => sign({ exp: ago(-seconds - 1), ...claims });

for (const variant of matrix) {
  for (const handshake of [true, false]) {
    // Gets a client in, in either mode.
    const enter = async (server, token, options) => {
      const client = connect(variant, server.url, handshake ? { query: { token }, ...options } : options);
      if (!handshake) client.socket.on('connect', () => client.socket.emit('authenticate', { token }));
      await client.until('welcome');
      if (variant.kind === 'upgrade') await client.upgraded();
      return client;
    };
    // The client that comes back, which gets one of the tokens each time it asks for one.
    const stay = (server, tokens, out = () => {}) => {
      const freshToken = async () => {
        if (tokens.length === 0) throw new Error('log in');
        return tokens.shift();
      };
      const io = (url, options) => readme(variant.io)(url, { handshake, freshToken, out, ...options });
      return connect({ ...variant, io }, server.url);
    };
    // What a client has seen that got in, and was then told why it has to go.
    const whole = why => [['connect'], ...(handshake ? [] : [['authenticated']]), ['welcome', red], ['unauthorized', why], ['disconnect', 'io server disconnect']];
    const serve = (options, body) => withServer({ handshake, ...options }, body);

    describe(`${variant.name}, ${handshake ? 'handshake' : 'round trip'}`, { concurrency: true }, () => {
      test('the session ends when the token expires', limit, () =>
        serve({}, async server => {
          const client = await enter(server, shortLived(1));
          await client.until('disconnect');
          await aMoment(); // it does not come back
          assert.deepEqual(client.log, whole(expired));
          await eventually(async () => {
            const { sockets, handshakes, disconnected, unauthorized } = await server.stats();
            assert.deepEqual({ sockets, handshakes, disconnected, unauthorized },
              { sockets: 0, handshakes: 1, disconnected: ['/'], unauthorized: ['/ invalid_token'] });
          });
        }));

      test('the newest session of a user stays', limit, () =>
        serve({ singleSession: true }, async server => {
          const first = await enter(server, sign({ jti: 'first' }));
          const other = await enter(server, sign({ sub: 'blue' }));
          const second = await enter(server, sign({ jti: 'second' }));
          await first.until('disconnect');
          await aMoment(); // it does not come back
          assert.deepEqual(first.log, whole(unauthorized('session_replaced', 'session replaced')));
          assert.equal((await server.stats()).handshakes, 3);
          assert.deepEqual(await second.ask('whoami'), red);
          assert.deepEqual(await other.ask('whoami'), { namespace: '/', subject: 'blue' });
        }));

      test('KeepExpired opts out', limit, () =>
        serve({ keepExpired: true, expiryWarning: 60_000 }, async server => {
          const client = await enter(server, shortLived(1));
          const [{ expiresIn }] = await client.until('token_expiring');
          assert.ok(expiresIn === 1 || expiresIn === 2, `expires in ${expiresIn}`);
          await new Promise(resolve => setTimeout(resolve, 2500));
          assert.deepEqual(await client.ask('whoami'), red);
          assert.deepEqual(client.all('disconnect'), []);
        }));

      test('a client that is warned refreshes, and stays', limit, () =>
        serve({ expiryWarning: 1000 }, async server => {
          const client = await enter(server, shortLived(2));
          client.socket.on('token_expiring', () => client.socket.emit('authenticate', { token: sign() }));
          assert.deepEqual(await client.until('token_expiring'), [{ expiresIn: 1 }]);
          await client.until('authenticated', handshake ? 1 : 2);
          await new Promise(resolve => setTimeout(resolve, 1500));
          assert.deepEqual(await client.ask('whoami'), red);
          assert.equal(client.all('token_expiring').length, 1);
          assert.equal(client.all('welcome').length, 1, 'OnConnect ran again');
          assert.deepEqual(client.all('disconnect'), []);
        }));

      test('a refused refresh leaves the session as it was', limit, () =>
        serve({}, async server => {
          const client = await enter(server, sign());
          client.socket.emit('authenticate', { token: sign({ exp: ago(10) }) });
          assert.deepEqual(await client.until('unauthorized'), [expired]);
          client.socket.emit('authenticate', { token: sign({ sub: 'blue' }) });
          assert.deepEqual(await client.until('unauthorized', 2), [unauthorized('invalid_token', 'jwt subject changed')]);
          assert.deepEqual(await client.ask('whoami'), red);
        }));

      test('a client comes back with a fresh token', limit, () =>
        serve({}, async server => {
          const tokens = [sign({ exp: ago(10) }), shortLived(2), sign()];
          const client = stay(server, tokens);
          await client.until('welcome', 2);
          assert.deepEqual(await client.ask('whoami'), red);
          assert.deepEqual(client.all('disconnect'), [['io server disconnect'], ['io server disconnect']]);
        }));

      test('a client that comes back is warned, and stays', limit, () =>
        serve({ expiryWarning: 1000 }, async server => {
          const tokens = [sign({ exp: ago(10) }), shortLived(2), sign()];
          const client = stay(server, tokens);
          await client.until('authenticated', handshake ? 1 : 2);
          await new Promise(resolve => setTimeout(resolve, 1500));
          assert.deepEqual(await client.ask('whoami'), red);
          assert.deepEqual(client.all('disconnect'), [['io server disconnect']]);
        }));

      for (const [name, tokens, reason] of [
        ['gets no token any more', () => [sign({ exp: ago(10) })], 'log in'],
        ['gets expired tokens only', () => [sign({ exp: ago(10) }), sign({ exp: ago(10) }), sign()], 'jwt expired'],
        ['gets a forged token', () => [sign({}, { key: 'another secret, also of 32 bytes' }), sign()], 'invalid signature']
      ]) {
        test(`a client that ${name} is out`, limit, () =>
          serve({}, async server => {
            let client;
            const { message } = await within('end', out => { client = stay(server, tokens(), out); });
            assert.equal(message, reason);
            await aMoment();
            assert.equal(client.socket.connected, false);
            assert.deepEqual(client.all('welcome'), []);
          }));
      }

      test('a revoked token ends its sessions, and is refused from then on', limit, () =>
        serve({ revocations: true }, async server => {
          const token = sign({ jti: 'one' });
          const client = await enter(server, token);
          const other = await enter(server, sign({ jti: 'two', iat: ago(0) }));
          await server.post('/revoke', { id: 'one' });
          await client.until('disconnect');
          assert.deepEqual(client.log, whole(revoked));
          assert.deepEqual(other.all('disconnect'), []);
          const again = connect(variant, server.url, handshake ? { query: { token } } : {});
          if (handshake) {
            assert.deepEqual(await again.until('error'), [revoked.data]);
          } else {
            again.socket.on('connect', () => again.socket.emit('authenticate', { token }));
            assert.deepEqual(await again.until('unauthorized'), [revoked]);
          }
          await server.post('/revoke', { subject: 'red' });
          await other.until('disconnect');
          assert.deepEqual(other.log, whole(revoked));
        }));

      test('all of a user are reached by the room, and disconnected', limit, () =>
        serve({ userRoom: true }, async server => {
          const tabs = await Promise.all([enter(server, sign()), enter(server, sign())]);
          const blue = await enter(server, sign({ sub: 'blue' }));
          await server.broadcast('/', 'news', 'for red', 'user:red');
          for (const tab of tabs) assert.deepEqual(await tab.until('news'), ['for red']);
          assert.equal(await server.post('/disconnect', { subject: 'red', code: 'logged_out', message: 'see you' }), '2\n');
          for (const tab of tabs) {
            await tab.until('disconnect');
            assert.deepEqual(tab.log.slice(-2), [['unauthorized', unauthorized('logged_out', 'see you')], ['disconnect', 'io server disconnect']]);
          }
          await aMoment();
          assert.deepEqual(blue.all('news'), []);
          assert.deepEqual(blue.all('disconnect'), []);
          assert.equal((await server.stats()).handshakes, 3);
        }));
    });
  }

  test(`${variant.name}: with a public root the protected namespace ends alone`, limit, () =>
    withServer({ namespaces: ['/admin'] }, async server => {
      const root = connect(variant, server.url);
      await root.until('welcome');
      const admin = new Witness(root.socket.io.socket('/admin'));
      await admin.until('connect');
      admin.socket.emit('authenticate', { token: shortLived(1) });
      await admin.until('disconnect');
      assert.deepEqual(admin.log, [
        ['connect'], ['authenticated'], ['welcome', { namespace: '/admin', subject: 'red' }],
        ['unauthorized', expired], ['disconnect', 'io server disconnect']
      ]);
      assert.equal(await root.ask('echo', 'still here'), 'still here');

      admin.socket.open(); // and authenticates anew, as anybody
      await admin.until('connect', 2);
      admin.socket.emit('authenticate', { token: sign({ sub: 'blue' }) });
      assert.deepEqual(await admin.until('welcome', 2), [{ namespace: '/admin', subject: 'blue' }]);
    }, { public: ['/'] }));
}
