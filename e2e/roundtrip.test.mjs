// Round-trip mode: the client connects, then sends its token in an event.
import { test, describe } from 'node:test';
import assert from 'node:assert/strict';
import {
  aMoment, badTokens, connect, eventually, good, matrix, refusal, sign, strict, strictToken, unauthorized, within, withServer, Witness
} from './helper.mjs';

const limit = { timeout: 60_000 };
const red = { namespace: '/', subject: 'red' };
const guest = { namespace: '/', subject: null };
const datatype = unauthorized('invalid_token', 'invalid token datatype');

// Connects and sends `authenticate` as soon as it may.
function authenticate(variant, url, data, options) {
  const client = connect(variant, url, options);
  client.socket.on('connect', () => client.socket.emit('authenticate', ...(data === undefined ? [] : [data])));
  return client;
}

for (const variant of matrix) {
  describe(variant.name, () => {
    test('every bad token is refused with its reason, then disconnected', limit, () =>
      withServer({ ...strict, timeout: 2000 }, async server => {
        const table = {
          'no argument': [undefined, datatype],
          'null': [null, datatype],
          'a text': [strictToken(), datatype],
          'a number': [7, datatype],
          'a list': [[strictToken()], datatype],
          'no token': [{}, datatype],
          'token is null': [{ token: null }, datatype],
          'token is empty': [{ token: '' }, datatype],
          'token is a number': [{ token: 7 }, datatype],
          'token is an object': [{ token: { token: strictToken() } }, datatype]
        };
        for (const [name, [token, { code, message }]] of Object.entries(badTokens)) {
          table[`token: ${name}`] = [{ token }, unauthorized(code, message)];
        }
        const seen = {};
        const expected = {};
        await Promise.all(Object.entries(table).map(async ([name, [data, reason]]) => {
          const passing = reason.data.code === 'invalid_secret'; // then the client would come back
          const client = authenticate(variant, server.url, data, { reconnection: !passing });
          await client.until('disconnect');
          seen[name] = client;
          expected[name] = [['connect'], ['unauthorized', reason], ['disconnect', passing ? 'transport close' : 'io server disconnect']];
        }));
        await aMoment(); // nobody comes back
        assert.deepEqual(Object.fromEntries(Object.entries(seen).map(([name, { log }]) => [name, log])), expected);
        const { handshakes, connected } = await server.stats();
        assert.equal(handshakes, Object.keys(table).length);
        assert.deepEqual(connected, [], 'OnConnect ran');
        await eventually(async () => assert.equal((await server.stats()).sockets, 0));
      }));

    test('a good token gets in', limit, () =>
      withServer({ callback: true, accept: true }, async server => {
        for (const token of [sign(), `Bearer ${sign()}`, sign({}, { header: { kid: 'rotated' } })]) {
          const client = authenticate(variant, server.url, { token });
          await client.until('welcome');
          if (variant.kind === 'upgrade') await client.upgraded();
          assert.deepEqual(await client.ask('whoami'), red);
          assert.deepEqual(client.log, [['connect'], ['authenticated'], ['welcome', red]]);
          client.close();
        }
        await eventually(async () => {
          const { sockets, connected, disconnected, authenticated, accepted } = await server.stats();
          assert.deepEqual({ sockets, connected, disconnected, authenticated, accepted }, {
            sockets: 0, connected: ['/', '/', '/'], disconnected: ['/', '/', '/'],
            authenticated: Array(3).fill('/ red'), accepted: Array(3).fill('user red')
          });
        });
      }));

    test('nothing sent in time', limit, () =>
      withServer({ timeout: 150 }, async server => {
        const client = connect(variant, server.url);
        await client.until('disconnect');
        await aMoment();
        assert.deepEqual(client.log, [
          ['connect'], ['unauthorized', unauthorized('timeout', 'authentication timed out')], ['disconnect', 'io server disconnect']
        ]);
        assert.equal((await server.stats()).handshakes, 1);
      }));

    test('failed attempts do not stop the clock', limit, () =>
      withServer({ timeout: 500, closeGrace: -1 }, async server => {
        const client = authenticate(variant, server.url, { token: 'nonsense' });
        await client.until('disconnect');
        assert.deepEqual(client.all('unauthorized'), [
          [unauthorized('invalid_token', 'jwt malformed')], [unauthorized('timeout', 'authentication timed out')]
        ]);
      }));

    test('an event before authentication is dropped', limit, () =>
      withServer({}, async server => {
        const client = connect(variant, server.url);
        const answered = [];
        client.socket.on('connect', () => {
          client.socket.emit('echo', 1, answer => answered.push(answer));
          client.socket.emit('number', 1);
          client.socket.emit('whoami', answer => answered.push(answer));
        });
        await client.until('connect');
        await eventually(async () => assert.equal((await server.stats()).early, 3));
        await aMoment();
        assert.deepEqual(client.log, [['connect']]);
        client.socket.emit('authenticate', { token: sign() });
        assert.deepEqual(await client.until('welcome'), [red]);
        assert.equal(await client.ask('echo', 2), 2);
        assert.deepEqual(client.log, [['connect'], ['authenticated'], ['welcome', red]]);
        assert.deepEqual(answered, []);
        assert.equal((await server.stats()).early, 3);
      }));

    test('events before authentication do not stop the clock', limit, () =>
      withServer({ timeout: 300 }, async server => {
        const client = connect(variant, server.url);
        client.socket.on('connect', () => client.socket.emit('echo', 1));
        await client.until('disconnect');
        assert.deepEqual(client.log, [
          ['connect'], ['unauthorized', unauthorized('timeout', 'authentication timed out')], ['disconnect', 'io server disconnect']
        ]);
      }));

    test('too many attempts', limit, () =>
      withServer({ maxAttempts: 3, closeGrace: -1 }, async server => {
        const client = connect(variant, server.url);
        await client.until('connect');
        for (let i = 0; i < 4; i++) client.socket.emit('authenticate', { token: 'nonsense' });
        await client.until('disconnect');
        await aMoment();
        assert.deepEqual(client.all('unauthorized'), [
          ...Array(3).fill([unauthorized('invalid_token', 'jwt malformed')]), [unauthorized('too_many_attempts', 'too many attempts')]
        ]);
        assert.deepEqual(client.all('disconnect'), [['io server disconnect']]);
        assert.equal((await server.stats()).handshakes, 1);
      }));

    test('a busy server lets clients in once there is room', limit, () =>
      withServer({ maxPending: 1 }, async server => {
        const first = connect(variant, server.url);
        await first.until('connect');
        const second = authenticate(variant, server.url, { token: sign({ sub: 'blue' }) });
        assert.deepEqual(await second.until('error'), [refusal('server_busy', 'server busy')]);
        assert.deepEqual(second.all('connect'), []);
        await second.until('reconnect_attempt');
        first.socket.emit('authenticate', { token: sign() });
        await first.until('authenticated');
        assert.deepEqual(await second.until('welcome'), [{ namespace: '/', subject: 'blue' }]);
        assert.equal(second.all('connect').length, 1);
      }));

    test('the callback of unauthorized disconnects', limit, () =>
      withServer({ closeGrace: 30_000, timeout: 60_000 }, async server => {
        const client = authenticate(variant, server.url, { token: 'nonsense' });
        const callback = await within('callback', resolve => client.socket.on('unauthorized', (_, done) => resolve(done)));
        await aMoment();
        assert.deepEqual(client.all('disconnect'), []);
        callback();
        assert.deepEqual(await client.until('disconnect'), ['io server disconnect']);
      }));

    test('without the callback, CloseGrace disconnects', limit, () =>
      withServer({ closeGrace: 200 }, async server => {
        const client = authenticate(variant, server.url, { token: 'nonsense' });
        await client.until('unauthorized');
        const start = performance.now();
        assert.deepEqual(await client.until('disconnect'), ['io server disconnect']);
        assert.ok(performance.now() - start > 100, 'disconnected at once');
      }));

    test('a second attempt within CloseGrace gets in', limit, () =>
      withServer({ closeGrace: -1 }, async server => {
        const client = authenticate(variant, server.url, { token: 'nonsense' });
        await client.until('unauthorized');
        client.socket.emit('authenticate', { token: sign() });
        assert.deepEqual(await client.until('welcome'), [red]);
      }));

    test('guests, where the token is optional', limit, () =>
      withServer({ optional: true, timeout: 100 }, async server => {
        const client = connect(variant, server.url);
        assert.deepEqual(await client.until('welcome'), [guest]);
        await aMoment(); // longer than the timeout
        assert.deepEqual(await client.ask('whoami'), guest);
        client.socket.emit('authenticate', { token: sign() });
        await client.until('authenticated');
        assert.deepEqual(await client.ask('whoami'), red);

        const liar = authenticate(variant, server.url, { token: 'nonsense' });
        await liar.until('disconnect');
        assert.deepEqual(liar.all('unauthorized'), [[unauthorized('invalid_token', 'jwt malformed')]]);
        assert.deepEqual(client.all('disconnect'), []);
      }));

    test('authenticated once for each authenticate', limit, () =>
      withServer({}, async server => {
        const client = authenticate(variant, server.url, { token: sign() });
        await client.until('welcome');
        client.socket.emit('authenticate', { token: sign({ exp: good.exp + 60 }) });
        client.socket.emit('authenticate', { token: sign({ exp: good.exp + 120 }) });
        await client.until('authenticated', 3);
        client.socket.emit('authenticate', { token: sign({ sub: 'blue' }) });
        assert.deepEqual(await client.until('unauthorized'), [unauthorized('invalid_token', 'jwt subject changed')]);
        assert.deepEqual(await client.ask('whoami'), red);
        await aMoment();
        assert.equal(client.all('authenticated').length, 3);
        assert.equal(client.all('welcome').length, 1);
        assert.deepEqual(client.all('disconnect'), []);
      }));

    test('broadcasts reach only who is authenticated, once', limit, () =>
      withServer({}, async server => {
        const inside = authenticate(variant, server.url, { token: sign() });
        const outside = connect(variant, server.url);
        await Promise.all([inside.until('welcome'), outside.until('connect')]);
        await server.broadcast('/', 'news', 'secret');
        await inside.until('news');
        await aMoment();
        assert.deepEqual(inside.all('news'), [['secret']]);
        assert.deepEqual(outside.all('news'), []);

        outside.socket.emit('authenticate', { token: sign({ sub: 'blue' }) });
        await outside.until('welcome');
        await server.broadcast('/', 'news', 'more');
        await outside.until('news');
        assert.deepEqual(outside.all('news'), [['more']]);
      }));

    test('the hooks one by one', limit, () =>
      withServer({}, async server => {
        const client = authenticate(variant, server.url, { token: sign() });
        await client.until('authenticated');
        assert.deepEqual(await client.ask('whoami'), red);
        const refused = authenticate(variant, server.url, { token: 'nonsense' });
        await refused.until('disconnect');
        assert.deepEqual(refused.log, [
          ['connect'], ['unauthorized', unauthorized('invalid_token', 'jwt malformed')], ['disconnect', 'io server disconnect']
        ]);
        const hasty = connect(variant, server.url);
        let answered = false;
        hasty.socket.on('connect', () => hasty.socket.emit('whoami', () => { answered = true; }));
        await hasty.until('connect');
        await aMoment();
        assert.deepEqual(hasty.log, [['connect']]);
        hasty.socket.emit('authenticate', { token: sign() });
        await hasty.until('authenticated');
        assert.deepEqual(await hasty.ask('whoami'), red);
        assert.deepEqual(hasty.log, [['connect'], ['authenticated']]);
        assert.equal(answered, false);
        assert.equal((await server.stats()).early, 1);
      }, { hooks: true }));

    test('public root, protected /admin', limit, () =>
      withServer({ namespaces: ['/admin'] }, async server => {
        const root = connect(variant, server.url);
        assert.deepEqual(await root.until('welcome'), [guest]);
        const admin = new Witness(root.socket.io.socket('/admin'));
        await admin.until('connect');
        admin.socket.emit('authenticate', { token: sign() });
        await admin.until('authenticated');
        assert.deepEqual(await admin.until('welcome'), [{ namespace: '/admin', subject: 'red' }]);

        const other = connect(variant, server.url);
        const refused = new Witness(other.socket.io.socket('/admin'));
        await refused.until('connect');
        refused.socket.emit('authenticate', { token: 'nonsense' });
        assert.deepEqual(await refused.until('disconnect'), ['io server disconnect']);
        assert.deepEqual(refused.all('unauthorized'), [[unauthorized('invalid_token', 'jwt malformed')]]);
        assert.deepEqual(await other.ask('echo', 'still here'), 'still here');
      }, { public: ['/'] }));

    test('one authenticate lets the connection into all namespaces that wait', limit, () =>
      withServer({ namespaces: ['/', '/admin'] }, async server => {
        const root = connect(variant, server.url);
        const admin = new Witness(root.socket.io.socket('/admin'));
        await Promise.all([root.until('connect'), admin.until('connect')]);
        root.socket.emit('authenticate', { token: sign() });
        assert.deepEqual(await root.until('welcome'), [red]);
        assert.deepEqual(await admin.until('welcome'), [{ namespace: '/admin', subject: 'red' }]);
        assert.deepEqual(root.all('authenticated').length, 1);
        assert.deepEqual(admin.all('authenticated').length, 0);
      }));

    test('the token may be in a cookie', limit, () =>
      withServer({ cookie: 'session' }, async server => {
        const cookie = token => ({ extraHeaders: { Cookie: `session=${token}` } });
        const client = authenticate(variant, server.url, undefined, cookie(sign()));
        assert.deepEqual(await client.until('welcome'), [red]);
        const explicit = authenticate(variant, server.url, { token: sign({ sub: 'blue' }) }, cookie(sign()));
        assert.deepEqual(await explicit.until('welcome'), [{ namespace: '/', subject: 'blue' }]);
        const bad = authenticate(variant, server.url, undefined, cookie('nonsense'));
        assert.deepEqual(await bad.until('unauthorized'), [unauthorized('invalid_token', 'jwt malformed')]);
        const without = authenticate(variant, server.url, undefined);
        assert.deepEqual(await without.until('unauthorized'), [datatype]);
      }));
  });
}
