// Handshake mode: the token comes with the request that opens the connection.
import { test, describe } from 'node:test';
import assert from 'node:assert/strict';
import http from 'node:http';
import {
  ago, aMoment, badTokens, connect, eventually, matrix, refusal, sign, signRaw, good, hs256, startServer, strict, strictToken, Witness, withServer
} from './helper.mjs';

const limit = { timeout: 60_000 };
const noToken = refusal('credentials_required', 'no token provided');
const badFormat = refusal('credentials_bad_format', 'Format is Authorization: Bearer [token]');
const headerRequired = refusal('missing_authorization_header', 'Server requires Authorization Header');
const retryable = ({ code }) => code === 'invalid_secret' || code === 'server_busy';
const bearer = token => ({ extraHeaders: { Authorization: `Bearer ${token}` } });
const red = { namespace: '/', subject: 'red' };
const guest = { namespace: '/', subject: null };

// Connects each client of a table {name: [options, reason]} and checks that it
// sees the reason, never connects, and stays away unless trying again helps.
async function refusesAll(variant, server, table) {
  const before = await server.stats();
  const seen = {};
  const expected = {};
  const clients = {};
  await Promise.all(Object.entries(table).map(async ([name, [options, reason]]) => {
    clients[name] = connect(variant, server.url, { reconnection: !retryable(reason), ...options });
    expected[name] = reason;
    [seen[name]] = await clients[name].until('error');
  }));
  assert.deepEqual(seen, expected);

  await aMoment();
  for (const [name, client] of Object.entries(clients)) {
    assert.deepEqual(client.all('connect'), [], name);
    assert.equal(client.all('error').length, 1, name);
    if (!retryable(expected[name])) assert.deepEqual(client.all('disconnect'), [['io server disconnect']], name);
  }
  const after = await server.stats();
  assert.equal(after.handshakes - before.handshakes, Object.keys(table).length, 'handshakes');
  assert.equal(after.sockets, before.sockets, 'sessions');
  assert.equal(after.connected.length, before.connected.length, 'OnConnect');
}

for (const variant of matrix) {
  describe(variant.name, () => {
    test('every bad token is refused with its reason, and the client stays away', limit, () =>
      withServer({ ...strict, handshake: true }, async server => {
        await refusesAll(variant, server, {
          'no token': [{}, noToken],
          'empty token': [{ query: { token: '' } }, noToken],
          'another scheme': [{ extraHeaders: { Authorization: 'Basic cmVkOnJlZA==' } }, noToken],
          'header of one word': [{ extraHeaders: { Authorization: strictToken() } }, badFormat],
          'header of three words': [{ extraHeaders: { Authorization: `Bearer ${strictToken()} twice` } }, badFormat],
          'bad token in the header, good one in the query': [
            { ...bearer('nonsense'), query: { token: strictToken() } }, refusal('invalid_token', 'jwt malformed')],
          ...Object.fromEntries(Object.entries(badTokens).flatMap(([name, [token, reason]]) => [
            [`query: ${name}`, [{ query: { token } }, reason]],
            [`header: ${name}`, [bearer(token), reason]]
          ]))
        });
        for (const [name, [token]] of Object.entries(badTokens)) assert.ok(!server.errors.includes(token), `${name} is in the log`);
      }));

    test('HeaderRequired takes the header only', limit, () =>
      withServer({ handshake: true, headerRequired: true }, async server => {
        await refusesAll(variant, server, {
          'no token': [{}, headerRequired],
          'query': [{ query: { token: sign() } }, headerRequired],
          'another scheme': [{ extraHeaders: { Authorization: 'Basic cmVkOnJlZA==' } }, headerRequired],
          'header of one word': [{ extraHeaders: { Authorization: sign() } }, badFormat]
        });
        const client = connect(variant, server.url, bearer(sign()));
        assert.deepEqual(await client.until('welcome'), [red]);
      }));

    test('a lookup that takes too long is refused', limit, () =>
      withServer({ callback: true, handshake: true, timeout: 200 }, server => refusesAll(variant, server, {
        slow: [{ query: { token: sign({}, { header: { kid: 'slow' } }) } }, refusal('invalid_secret', 'secret unavailable')]
      })));

    test('a good token connects, and the session survives the upgrade', limit, () =>
      withServer({ callback: true, accept: true, handshake: true }, async server => {
        const ways = {
          query: { query: { token: sign() } },
          header: bearer(sign()),
          'scheme in any case': { extraHeaders: { Authorization: `bEARER ${sign()}` } },
          'header wins over query': { ...bearer(sign()), query: { token: 'nonsense' } },
          'rotated keys': { query: { token: sign({}, { header: { kid: 'rotated' } }) } }
        };
        for (const [name, options] of Object.entries(ways)) {
          const client = connect(variant, server.url, options);
          assert.deepEqual(await client.until('welcome'), [red], name);
          if (variant.kind === 'upgrade') await client.upgraded();
          assert.deepEqual(await client.ask('whoami'), red, name);
          assert.deepEqual(client.log, [['connect'], ['welcome', red]], name);
          client.close();
        }
        await eventually(async () => {
          const { sockets, lookups, connected, disconnected, authenticated, accepted, unauthorized } = await server.stats();
          const five = value => Array(5).fill(value);
          assert.deepEqual({ sockets, lookups, connected, disconnected, authenticated, accepted, unauthorized }, {
            sockets: 0, lookups: 5, connected: five('/'), disconnected: five('/'), authenticated: five('/ red'), accepted: five('user red'), unauthorized: []
          });
        });
      }));

    test('who is refused for a passing reason comes back and gets in', limit, () =>
      withServer({ callback: true, failedLookups: 2, handshake: true }, async server => {
        const client = connect(variant, server.url, { query: { token: sign() } });
        assert.deepEqual(await client.until('welcome'), [red]);
        assert.deepEqual(client.all('error'), Array(2).fill([refusal('invalid_secret', 'secret unavailable')]));
        assert.equal(client.all('connect').length, 1);
        assert.equal((await server.stats()).handshakes, 3);
      }));

    test('guests, where the token is optional', limit, () =>
      withServer({ handshake: true, optional: true, timeout: 100 }, async server => {
        await refusesAll(variant, server, {
          'bad token': [{ query: { token: 'nonsense' } }, refusal('invalid_token', 'jwt malformed')]
        });
        const client = connect(variant, server.url);
        assert.deepEqual(await client.until('welcome'), [guest]);
        await aMoment(); // longer than the timeout
        assert.deepEqual(await client.ask('whoami'), guest);
        client.socket.emit('authenticate', { token: sign() });
        await client.until('authenticated');
        assert.deepEqual(await client.ask('whoami'), red);
        assert.deepEqual(client.all('disconnect'), []);
      }));

    test('a newer token takes the place of the old one, another subject does not', limit, () =>
      withServer({ handshake: true }, async server => {
        const client = connect(variant, server.url, { query: { token: sign() } });
        await client.until('welcome');
        client.socket.emit('authenticate', { token: sign({ exp: good.exp + 60 }) });
        await client.until('authenticated');
        client.socket.emit('authenticate', { token: sign({ sub: 'blue' }) });
        assert.deepEqual(await client.until('unauthorized'),
          [{ message: 'jwt subject changed', data: refusal('invalid_token', 'jwt subject changed') }]);
        client.socket.emit('authenticate', { token: 'nonsense' });
        await client.until('unauthorized', 2);
        assert.deepEqual(await client.ask('whoami'), red);
        await aMoment();
        assert.equal(client.all('authenticated').length, 1);
        assert.equal(client.all('welcome').length, 1);
        assert.deepEqual(client.all('disconnect'), []);
      }));

    test('the hooks one by one, with and without the gate', limit, async () => {
      for (const gate of [true, false]) {
        await withServer({ handshake: true, callback: true }, async server => {
          const client = connect(variant, server.url, { query: { token: sign() } });
          await client.until('connect');
          assert.deepEqual(await client.ask('whoami'), red);
          assert.equal((await server.stats()).lookups, 1);

          const refused = connect(variant, server.url, { query: { token: 'nonsense' } });
          await refused.until('disconnect');
          await aMoment();
          assert.deepEqual(refused.log, [
            ...(gate ? [] : [['connect']]), // go-socket.io says so before it asks the hook
            ['error', refusal('invalid_token', 'jwt malformed')],
            ['disconnect', 'io server disconnect']
          ], `gate: ${gate}`);
          assert.equal((await server.stats()).handshakes, 2);
        }, { hooks: true, gate });
      }
    });

    test('public root, protected /admin', limit, () =>
      withServer({ handshake: true, namespaces: ['/admin'] }, async server => {
        const admin = { namespace: '/admin', subject: 'red' };
        const root = connect(variant, server.url);
        assert.deepEqual(await root.until('welcome'), [guest]);

        const refused = connect(variant, `${server.url}/admin`);
        assert.deepEqual(await refused.until('error'), [noToken]);
        assert.deepEqual(await refused.until('disconnect'), ['io server disconnect']);

        const badHandshake = connect(variant, `${server.url}/admin`, { query: 'token=nonsense' });
        assert.deepEqual(await badHandshake.until('error'), [refusal('invalid_token', 'jwt malformed')]);

        const welcome = connect(variant, `${server.url}/admin`, { query: `token=${sign()}` });
        assert.deepEqual(await welcome.until('welcome'), [admin]);
        assert.deepEqual(await welcome.ask('whoami'), admin);

        const byHeader = connect(variant, `${server.url}/admin`, bearer(sign()));
        assert.deepEqual(await byHeader.until('welcome'), [admin]);

        await aMoment();
        for (const client of [refused, badHandshake]) {
          assert.deepEqual(client.all('connect'), []);
          assert.equal(client.all('error').length, 1);
        }
        assert.deepEqual(await root.ask('echo', 'still here'), 'still here');
      }, { public: ['/'] }));

    test('a namespace of a shared connection brings its own token', limit, () =>
      withServer({ handshake: true, namespaces: ['/admin', '/other'] }, async server => {
        const root = connect(variant, server.url);
        await root.until('welcome');
        const join = (namespace, query) => new Witness(root.socket.io.socket(namespace, { query }));
        const refused = join('/other', 'token=nonsense');
        assert.deepEqual(await refused.until('error'), [refusal('invalid_token', 'jwt malformed')]);
        assert.deepEqual(await refused.until('disconnect'), ['io server disconnect']);
        const admin = join('/admin', `token=${sign()}`);
        assert.deepEqual(await admin.until('welcome'), [{ namespace: '/admin', subject: 'red' }]);
        assert.deepEqual(await root.ask('echo', 1), 1);
        assert.deepEqual(refused.all('connect'), []);
        assert.deepEqual(root.all('disconnect'), []);
      }, { public: ['/'] }));

    test('everything protected: one session in all namespaces', limit, () =>
      withServer({ callback: true, handshake: true, namespaces: ['/', '/admin'] }, async server => {
        const root = connect(variant, server.url, { query: `token=${sign()}` });
        const admin = new Witness(root.socket.io.socket('/admin'));
        assert.deepEqual(await root.until('welcome'), [red]);
        assert.deepEqual(await admin.until('welcome'), [{ namespace: '/admin', subject: 'red' }]);
        assert.equal((await server.stats()).lookups, 1);

        await server.broadcast('/', 'news', 'once');
        await server.broadcast('/admin', 'news', 'admins only');
        await server.broadcast('/', 'news', 'in the lobby', 'lobby');
        await root.until('news', 2);
        await admin.until('news');
        assert.deepEqual(await root.ask('echo', { a: [1, 'é', null] }), { a: [1, 'é', null] });
        assert.deepEqual(root.all('news'), [['once'], ['in the lobby']]);
        assert.deepEqual(admin.all('news'), [['admins only']]);
      }));

    test('the gate of the root also tells clients of other namespaces, who stay away', limit, () =>
      withServer({ handshake: true, namespaces: ['/', '/admin'] }, async server => {
        const reason = refusal('invalid_token', 'jwt malformed');
        const alone = connect(variant, `${server.url}/admin`, { query: 'token=nonsense' });
        const root = connect(variant, server.url, { query: 'token=nonsense' });
        const admin = new Witness(root.socket.io.socket('/admin'));
        const all = { alone, root, admin };
        await Promise.all(Object.values(all).map(client => client.until('disconnect')));
        await aMoment();
        // 2.5.0 hands the root's error to the sockets of other namespaces, who see it before their own.
        const errors = { alone: 1, root: 1, admin: 1, ...(variant.client === 'client 2.5.0' && { alone: 2, admin: 2 }) };
        for (const [name, client] of Object.entries(all)) {
          const expected = [...Array(errors[name]).fill(['error', reason]), ['disconnect', 'io server disconnect']];
          assert.deepEqual(client.log, expected, name);
        }
        assert.equal((await server.stats()).handshakes, 2);
      }));

    test('an error of OnConnect refuses that namespace only', limit, () =>
      withServer({ handshake: true, namespaces: ['/', '/admin'] }, async server => {
        const root = connect(variant, server.url, { query: `token=${sign({ refuse: '/admin' })}` });
        const admin = new Witness(root.socket.io.socket('/admin'));
        assert.deepEqual(await admin.until('error'), [refusal('unauthorized', 'unauthorized')]);
        assert.deepEqual(await admin.until('disconnect'), ['io server disconnect']);
        assert.deepEqual(await root.ask('echo', 1), 1);
        assert.deepEqual((await server.stats()).disconnected, []);
      }));

    test('two Authorizers: handshake on the root, round trip on /admin', limit, () =>
      withServer([
        { handshake: true },
        { namespaces: ['/admin'], timeout: 5000 }
      ], async server => {
        await refusesAll(variant, server, { 'no token': [{}, noToken] });
        const root = connect(variant, server.url, { query: `token=${sign()}` });
        assert.deepEqual(await root.until('welcome'), [red]);

        const admin = new Witness(root.socket.io.socket('/admin'));
        await admin.until('connect');
        admin.socket.emit('authenticate', { token: sign({ sub: 'blue' }) });
        await admin.until('authenticated');
        assert.deepEqual(await admin.until('welcome'), [{ namespace: '/admin', subject: 'blue' }]);
        assert.deepEqual(await admin.ask('whoami'), { namespace: '/admin', subject: 'blue' });
        assert.deepEqual(await root.ask('whoami'), red);

        const hasty = connect(variant, server.url, { query: `token=${sign()}` });
        const hastyAdmin = new Witness(hasty.socket.io.socket('/admin'));
        await hastyAdmin.until('connect');
        let answered = false;
        hastyAdmin.socket.emit('whoami', () => { answered = true; });
        await aMoment();
        assert.deepEqual(hastyAdmin.log, [['connect']]);
        hastyAdmin.socket.emit('authenticate', { token: sign({ sub: 'blue' }) });
        assert.deepEqual(await hastyAdmin.until('welcome'), [{ namespace: '/admin', subject: 'blue' }]);
        assert.equal(answered, false);
        assert.deepEqual(await hasty.ask('whoami'), red);
      }));
  });
}

// The rest is the same for all clients.

const polling = matrix.find(({ client, kind }) => client === 'client 2.5.0' && kind === 'polling');
const websocket = matrix.find(({ client, kind }) => client === 'client 2.5.0' && kind === 'websocket');

test('algorithms of public keys', limit, async () => {
  const { generateKeyPairSync } = await import('node:crypto');
  const pair = (...args) => {
    const { publicKey, privateKey } = generateKeyPairSync(...args);
    return { pub: publicKey.export({ type: 'spki', format: 'pem' }), key: privateKey.export({ type: 'pkcs8', format: 'pem' }) };
  };
  for (const [algorithm, { pub, key }, other] of [
    ['RS256', pair('rsa', { modulusLength: 2048 }), pair('rsa', { modulusLength: 2048 })],
    ['ES256', pair('ec', { namedCurve: 'P-256' }), pair('ec', { namedCurve: 'P-256' })]
  ]) {
    await withServer({ secret: pub, handshake: true }, async server => {
      await refusesAll(polling, server, {
        'the public key as a shared secret': [{ query: { token: signRaw(hs256, good, pub) } }, refusal('invalid_token', 'invalid algorithm')],
        'another key': [{ query: { token: sign({}, { algorithm, key: other.key }) } }, refusal('invalid_token', 'invalid signature')]
      });
      const client = connect(polling, server.url, { query: { token: sign({}, { algorithm, key }) } });
      assert.deepEqual(await client.until('welcome'), [red]);
    });
  }
});

test('another name for the query parameter, other claims, a leeway', limit, () =>
  withServer({ handshake: true, queryParam: 'jwt', registeredClaims: true, leeway: 60_000 }, async server => {
    await refusesAll(polling, server, { 'usual name': [{ query: { token: sign() } }, noToken] });
    const client = connect(polling, server.url, { query: { jwt: sign({ exp: ago(30) }) } });
    assert.deepEqual(await client.until('welcome'), [red]);
  }));

test('a cookie counts only from pages of the server and of AllowedOrigins', limit, () =>
  withServer({ handshake: true, cookie: 'session', allowedOrigins: ['https://app.example'] }, async server => {
    const from = (Origin, token = sign()) => ({ extraHeaders: { Cookie: `a=b; session=${token}`, ...(Origin && { Origin }) } });
    const foreign = { 'foreign page': [from('https://evil.example'), noToken], 'no page in particular': [from('null'), noToken] };
    await refusesAll(polling, server, {
      ...foreign,
      'bad cookie': [from(server.url, 'nonsense'), refusal('invalid_token', 'jwt malformed')],
      'the query wins over the cookie': [{ ...from(server.url), query: { token: 'nonsense' } }, refusal('invalid_token', 'jwt malformed')]
    });
    for (const [variant, origin] of [[polling, undefined], [polling, server.url], [polling, 'https://app.example'], [websocket, undefined], [websocket, server.url]]) {
      const client = connect(variant, server.url, from(origin));
      assert.deepEqual(await client.until('welcome'), [red], `${variant.kind}, ${origin}`);
    }
    const hijack = connect(websocket, server.url, { ...from('https://evil.example'), reconnection: false });
    await Promise.race([hijack.until('error'), hijack.until('connect_error')]);
    assert.deepEqual(hijack.all('connect'), []);
  }));

describe('what a client library does not send', () => {
  const request = (server, query, { method = 'GET', headers = {} } = {}) => new Promise((resolve, reject) => {
    http.request(`${server.url}/socket.io/?${query}`, { method, headers, agent: false }, response => {
      let body = '';
      response.setEncoding('utf8').on('data', text => { body += text; });
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, body }));
    }).on('error', reject).end();
  });
  const start = () => startServer({ handshake: true });

  test('two tokens in one place', limit, async () => {
    const server = await start();
    const token = sign();
    for (const [query, headers] of [
      [`token=${token}&token=${token}`, {}],
      ['', { Authorization: [`Bearer ${token}`, `Bearer ${token}`] }]
    ]) {
      const { status, body } = await request(server, `EIO=3&transport=polling&${query}`, { headers });
      assert.equal(status, 200);
      assert.ok(body.includes(`44${JSON.stringify(badFormat)}`), body);
    }
    await server.stop();
  });

  test('JSONP, base64 and no EIO', limit, async () => {
    const server = await start();
    const error = `44${JSON.stringify(noToken)}`;
    const jsonp = await request(server, 'EIO=3&transport=polling&j=7');
    assert.equal(jsonp.status, 200);
    const called = [];
    new Function('___eio', jsonp.body)({ 7: payload => called.push(payload) });
    assert.equal(called.length, 1);
    assert.ok(called[0].endsWith(`${error.length}:${error}2:411:1`), called[0]);

    for (const query of ['EIO=3&transport=polling&b64=1', 'transport=polling']) {
      const { status, headers, body } = await request(server, query);
      assert.equal(status, 200);
      assert.match(headers['content-type'], /^text\/plain; charset=utf-8$/i);
      assert.match(body, /^\d+:0\{"sid":/);
      assert.ok(body.endsWith(`${error.length}:${error}2:411:1`), body);
    }
    assert.equal((await request(server, 'EIO=3&transport=polling&j=alert(1)')).status, 400);
    await server.stop();
  });

  test('other versions, methods and sessions', limit, async () => {
    const server = await start();
    const query = `transport=polling&token=${sign()}`;
    const five = await request(server, `EIO=5&${query}`);
    assert.equal(five.status, 400);
    assert.deepEqual(JSON.parse(five.body), { code: 5, message: 'Unsupported protocol version' });
    for (const method of ['HEAD', 'PUT', 'POST', 'DELETE', 'OPTIONS']) {
      await request(server, `EIO=3&${query}`, { method });
    }
    assert.equal((await request(server, `EIO=3&${query}&sid=1`)).status, 400);
    assert.equal((await server.stats()).sockets, 0);
    await server.stop();
  });
});
