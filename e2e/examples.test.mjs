// The programs in examples/, as a user starts them.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { connect as connectTCP } from 'node:net';
import { join } from 'node:path';
import { aMoment, connect, eventually, here, matrix, refusal, secret, sign, startProgram, unauthorized } from './helper.mjs';

const limit = { timeout: 120_000 };
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
const io4 = createRequire(import.meta.url)('socket.io-client-4').io;
// Clients 2.5.0 and 4.8.4, with each way to send the token in the handshake and to hear of a refusal.
const both = matrix.filter(({ client }) => client === 'client 2.5.0').flatMap(old => [
  { ...old, bring: token => ({ query: { token } }), refused: async client => (await client.until('error'))[0] },
  {
    ...old, name: `client 4.8.4, ${old.kind}`, client: 'client 4.8.4', io: io4, bring: token => ({ auth: { token } }),
    refused: async client => (await client.until('connect_error'))[0].data
  }
]);
const start = (name, args = [], env) => startProgram('../examples', name, ['-addr', '127.0.0.1:0', ...args], env);

for (const variant of matrix) {
  test(`static-secret: ${variant.name}`, limit, async () => {
    const server = await start('static-secret', [], { JWT_SECRET: secret });
    const client = connect(variant, server.url, { query: { token: sign() } });
    assert.deepEqual(await client.until('welcome'), ['red']);
    assert.equal(await client.ask('echo', 'hello'), 'hello');
    const refused = connect(variant, server.url, { query: { token: 'nonsense' } });
    assert.deepEqual(await refused.until('error'), [refusal('invalid_token', 'jwt malformed')]);

    await server.stop();
    assert.deepEqual(client.all('disconnect'), [['transport close']]); // by the server, before it ended
  });

  test(`per-user-secret: ${variant.name}`, limit, async () => {
    const server = await start('per-user-secret');
    const authenticate = token => {
      const client = connect(variant, server.url);
      client.socket.on('connect', () => client.socket.emit('authenticate', { token }));
      return client;
    };
    const of = (tenant, key = `the secret of ${tenant}, at least 32 bytes`) => sign({ tenant }, { key });
    for (const tenant of ['north', 'south']) {
      const client = authenticate(of(tenant));
      await client.until('authenticated');
      assert.equal(await client.ask('whoami'), `red of ${tenant}`);
    }
    // Two tenants have the same user, and have nothing in common.
    const north = authenticate(of('north'));
    const norths = authenticate(of('north'));
    const south = authenticate(of('south'));
    for (const client of [north, norths, south]) {
      await client.until('authenticated');
      await client.ask('whoami'); // `authenticated` comes before the room of UserRoom is joined, handlers run behind it
    }
    const notes = [];
    south.socket.on('note', text => notes.push(text));
    const noted = new Promise(resolve => norths.socket.on('note', (...args) => resolve(args)));
    north.socket.emit('note', 'of north');
    assert.deepEqual(await noted, ['of north']);
    south.socket.emit('authenticate', { token: of('north') });
    assert.deepEqual(await south.until('unauthorized'), [unauthorized('invalid_token', 'jwt subject changed')]);
    const out = [north, norths].map(client => client.until('disconnect'));
    north.socket.emit('log out everywhere');
    assert.deepEqual(await Promise.all(out), [['io server disconnect'], ['io server disconnect']]);
    assert.equal(await south.ask('whoami'), 'red of south');
    assert.deepEqual(notes, []);

    for (const token of [of('north', 'the secret of south, at least 32 bytes'), of('west'), of(undefined)]) {
      const client = authenticate(token);
      assert.deepEqual(await client.until('unauthorized'), [unauthorized('invalid_token', 'invalid signature')]);
      assert.deepEqual(await client.until('disconnect'), ['io server disconnect']);
    }
    await server.stop();
  });

  test(`chat: ${variant.name}`, limit, async () => {
    const server = await start('chat', ['-client', join(here, 'node_modules/socket.io-client-4/dist')]);
    const login = async user => {
      const response = await fetch(`${server.url}/login`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ user, password: `${user}-demo` })
      });
      assert.equal(response.status, 200);
      return (await response.json()).token;
    };
    const red = connect(variant, server.url, { query: { token: await login('red') } });
    const blue = connect(variant, server.url, { query: { token: await login('blue') } });
    const said = [];
    blue.socket.on('chat', message => said.push(message));
    assert.deepEqual(await red.until('welcome'), ['red']);
    assert.deepEqual(await blue.until('welcome'), ['blue']);
    const heard = new Promise(resolve => red.socket.on('chat', resolve));
    red.socket.emit('chat', '  '); // not worth a message
    red.socket.emit('chat', '<b>hello</b>');
    assert.deepEqual(await heard, { from: 'red', text: '<b>hello</b>' });
    await aMoment();
    assert.deepEqual(said, [{ from: 'red', text: '<b>hello</b>' }]);

    const page = await (await fetch(`${server.url}/chat.js`)).text();
    const forged = connect(variant, server.url, { query: { token: page.match(/FORGED = '(.*)'/)[1] } });
    assert.deepEqual(await forged.until('error'), [refusal('invalid_token', 'invalid signature')]);

    await server.stop();
  });
}

test('the chat says what is missing', limit, async () => {
  await assert.rejects(start('chat', ['-client', join(here, 'nowhere')]), /make demo/);
});

// Chrome opens connections ahead. http.Server.Shutdown takes one for busy until it is five seconds old.
test('a connection that is not used does not fail the end', limit, async () => {
  const server = await start('static-secret', [], { JWT_SECRET: secret });
  const unused = connectTCP(new URL(server.url).port, '127.0.0.1');
  await once(unused, 'connect');
  await fetch(`${server.url}/socket.io/`); // behind it
  await server.stop();
  unused.destroy();
});

test('an empty secret is refused at start', limit, async () => {
  await assert.rejects(start('static-secret', [], { JWT_SECRET: '' }), /Secret/);
});

for (const variant of matrix) {
  test(`rest-and-sockets: ${variant.name}`, limit, async () => {
    const server = await start('rest-and-sockets');
    const login = async name => {
      const response = await fetch(`${server.url}/login`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ user: name, password: `${name}-demo` })
      });
      const { token } = await response.json();
      const call = (path, options) => fetch(server.url + path, { headers: { Authorization: `Bearer ${token}` }, ...options });
      return { token, call, get: async path => (await call(path)).json() };
    };
    const red = await login('red');
    const blue = await login('blue');
    assert.deepEqual(await red.get('/self'), { name: 'red', email: 'red@example.com' });
    assert.deepEqual(await red.get('/users/blue'), { connected: false, connections: 0 });

    const clients = [1, 2].map(() => connect(variant, server.url, { query: { token: blue.token } }));
    const heard = clients.map(client => new Promise(resolve => client.socket.on('message', resolve)));
    for (const client of clients) assert.deepEqual(await client.until('welcome'), [{ name: 'blue', email: 'blue@example.com' }]);
    assert.deepEqual(await red.get('/users/blue'), { connected: true, connections: 2 });
    const sent = await red.call('/users/blue/messages', { method: 'POST', body: 'hello' });
    assert.equal(sent.status, 202);
    for (const message of heard) assert.deepEqual(await message, { from: 'red', text: 'hello' });

    clients[0].close();
    await eventually(async () => assert.deepEqual(await red.get('/users/blue'), { connected: true, connections: 1 }));
    assert.equal((await fetch(`${server.url}/self`)).status, 401);
    await server.stop();
  });

  test(`jwks: ${variant.name}`, limit, async () => {
    const server = await start('jwks');
    const post = async path => (await fetch(`${server.url}/issuer/${path}`, { method: 'POST' })).text();
    const token = await post('token?sub=red');
    await post('rotate');
    for (const [raw, name] of [[token, 'red'], [await post('token?sub=blue'), 'blue']]) {
      const client = connect(variant, server.url, { query: { token: raw } });
      assert.deepEqual(await client.until('welcome'), [name]);
    }
    // No key for it: the client tries again.
    const unknown = sign({ iss: 'https://issuer.example/', aud: 'chat' }, { key: rsa, algorithm: 'RS256', header: { kid: 'unknown' } });
    const refused = connect(variant, server.url, { query: { token: unknown } });
    assert.deepEqual(await refused.until('error'), [refusal('invalid_secret', 'secret unavailable')]);
    await refused.until('reconnect_attempt');
    await server.stop();
  });
}

for (const variant of both) {
  test(`backchannel-logout: ${variant.name}`, limit, async () => {
    const server = await start('backchannel-logout');
    const post = async path => (await fetch(`${server.url}/issuer/${path}`, { method: 'POST' })).text();
    const enter = async (sub, sid) => {
      const client = connect(variant, server.url, variant.bring(await post(`token?sub=${sub}&sid=${sid}`)));
      assert.deepEqual(await client.until('welcome'), [sub]);
      return client;
    };
    const isOut = async client => {
      const [{ message, data }] = await client.until('unauthorized');
      assert.deepEqual({ message, data }, { message: 'you have logged out', data: refusal('logged_out', 'you have logged out') });
      assert.equal((await client.until('disconnect'))[0], 'io server disconnect');
    };
    const logout = token => fetch(`${server.url}/backchannel-logout`, { method: 'POST', body: new URLSearchParams({ logout_token: token }) });

    const here = await enter('red', 1);
    const elsewhere = await enter('red', 2);
    const other = await enter('blue', 3);
    const token = await post('logout-token?sub=red&sid=1');
    const done = await logout(token);
    assert.deepEqual([done.status, done.headers.get('cache-control'), await done.text()], [200, 'no-store', '']);
    await isOut(here);
    const late = connect(variant, server.url, variant.bring(await post('token?sub=red&sid=1')));
    assert.deepEqual(await variant.refused(late), refusal('invalid_token', 'jwt revoked'));
    for (const bad of [token, 'nonsense', await post('token?sub=red&sid=2')]) {
      const refused = await logout(bad);
      assert.deepEqual([refused.status, refused.headers.get('cache-control'), (await refused.json()).error], [400, 'no-store', 'invalid_request']);
    }
    await aMoment();
    assert.deepEqual(elsewhere.all('disconnect'), []);
    assert.equal((await logout(await post('logout-token?sub=red'))).status, 200); // of the user, wherever
    await isOut(elsewhere);
    assert.deepEqual([other.all('unauthorized'), other.all('disconnect')], [[], []]);
    await server.stop();
  });
}

for (const variant of both) {
  test(`user-rate: ${variant.name}`, limit, async () => {
    const server = await start('user-rate', ['-every', '1h', '-burst', '3'], { JWT_SECRET: secret });
    const enter = sub => connect(variant, server.url, variant.bring(sign({ sub })));
    const [red, same, blue] = [enter('red'), enter('red'), enter('blue')];
    for (const client of [red, same, blue]) await client.until('connect');
    const heard = [];
    blue.socket.on('chat', (...args) => heard.push(args));
    const answers = [];
    for (const client of [red, same, red, same, red]) answers.push(await client.ask('chat', 'hello'));
    assert.deepEqual(answers, ['sent', 'sent', 'sent', 'slow down', 'slow down']);
    for (const client of [red, same]) client.close();
    assert.equal(await enter('red').ask('chat', 'hello'), 'slow down'); // also who comes back
    assert.equal(await blue.ask('chat', 'bye'), 'sent');
    assert.deepEqual(heard, [...Array(3).fill(['red', 'hello']), ['blue', 'bye']]);
    await server.stop();
  });
}

for (const variant of both) {
  test(`rooms: ${variant.name}`, limit, async () => {
    const server = await start('rooms', [], { JWT_SECRET: secret });
    const enter = async (sub, ...teams) => {
      const client = connect(variant, server.url, variant.bring(sign({ sub, teams })));
      await client.until('connect');
      client.heard = [];
      for (const event of ['said', 'told']) client.socket.on(event, (...args) => client.heard.push(args));
      return client;
    };
    const red = await enter('red', 'blue', 'green');
    for (const team of ['blue', 'green']) assert.equal(await red.ask('join', team), 'joined');
    const mate = await enter('mate', 'blue');
    assert.equal(await mate.ask('join', 'blue'), 'joined');
    const names = ['user:red', red.socket.id, 'team:blue', 'green', ''];
    const eve = await enter('eve');
    const mallory = await enter('mallory', 'user:red', red.socket.id, 'team:blue');
    for (const name of names) {
      assert.equal(await eve.ask('join', name), 'forbidden');
      assert.equal(await eve.ask('say', name, 'hello'), 'forbidden');
      assert.equal(await mallory.ask('join', name), names.indexOf(name) < 3 ? 'joined' : 'forbidden');
    }
    assert.equal(await mate.ask('say', 'blue', 'hello'), 'said');
    mate.socket.emit('tell', 'red', 'a secret');
    assert.equal(await mate.ask('join', 'green'), 'forbidden'); // behind it
    await eventually(() => assert.deepEqual(red.heard, [['blue', 'mate', 'hello'], ['mate', 'a secret']]));

    red.socket.emit('authenticate', { token: sign({ sub: 'red', teams: ['green'] }) });
    await red.until('authenticated');
    assert.equal(await red.ask('say', 'blue', 'bye'), 'forbidden'); // behind OnRefreshed, which leaves the room
    assert.equal(await mate.ask('say', 'blue', 'bye'), 'said');
    assert.deepEqual([red.heard.length, mate.heard, eve.heard, mallory.heard], [2, [['blue', 'mate', 'hello'], ['blue', 'mate', 'bye']], [], []]);
    await server.stop();
  });
}

// Building all four routers takes its time where nothing of them was built before.
const routers = { timeout: 600_000 };
for (const router of ['net/http', 'chi', 'echo', 'gin']) {
  test(`frameworks: ${router}`, routers, async () => {
    const server = await start('frameworks', ['-router', router], { JWT_SECRET: secret, GIN_MODE: 'release' });
    for (const variant of matrix) {
      const client = connect(variant, server.url, { query: { token: sign() } });
      assert.deepEqual(await client.until('welcome'), ['red']);
      if (variant.kind === 'upgrade') await client.upgraded();
      const long = 'long '.repeat(20_000);
      assert.equal(await client.ask('echo', long), long);
      const refused = connect(variant, server.url, { query: { token: 'nonsense' } });
      assert.deepEqual(await refused.until('error'), [refusal('invalid_token', 'jwt malformed')]);
      assert.deepEqual(await refused.until('disconnect'), ['io server disconnect']);
    }
    await server.stop();
  });
}

test('cors: a preflight, then the client of a page', limit, async () => {
  const origin = 'http://localhost:3000';
  const server = await start('cors', ['-origins', origin], { JWT_SECRET: secret });
  const preflight = from => fetch(`${server.url}/socket.io/?EIO=3&transport=polling`, {
    method: 'OPTIONS',
    headers: { Origin: from, 'Access-Control-Request-Method': 'GET', 'Access-Control-Request-Headers': 'authorization' }
  });
  const allowed = (await preflight(origin)).headers;
  assert.equal(allowed.get('access-control-allow-origin'), origin);
  assert.equal(allowed.get('access-control-allow-credentials'), 'true');
  assert.match(allowed.get('access-control-allow-headers'), /\bauthorization\b/i);
  assert.equal((await preflight('https://evil.example')).headers.get('access-control-allow-origin'), null);

  for (const variant of matrix) {
    const client = connect(variant, server.url, { extraHeaders: { Authorization: `Bearer ${sign()}`, Origin: origin } });
    assert.deepEqual(await client.until('welcome'), ['red']);
  }
  await server.stop();
});

test('metrics', limit, async () => {
  const server = await start('metrics', ['-debug'], { JWT_SECRET: secret });
  for (const variant of matrix) {
    await connect(variant, server.url, { query: { token: sign() } }).until('welcome');
    await connect(variant, server.url, { query: { token: 'nonsense' } }).until('error');
  }
  const page = await (await fetch(`${server.url}/metrics`)).text();
  for (const line of ['socketiojwt_sessions 6', 'socketiojwt_authenticated_total 6', 'socketiojwt_refused_total{by="",code="invalid_token",message="jwt malformed"} 6']) {
    assert.ok(page.split('\n').includes(line), `no ${line} in\n${page}`);
  }
  await eventually(() => assert.equal(server.errors.match(/"msg":"socketiojwt: refused","code":"invalid_token"/g)?.length, 6));
  for (const text of [page, server.errors]) assert.doesNotMatch(text, /eyJ|nonsense|"red"/);
  await server.stop();
});

test('tracing', limit, async () => {
  const server = await startProgram('../examples/tracing', '.', ['-addr', '127.0.0.1:0'], { JWT_SECRET: secret });
  for (const variant of both) {
    const client = connect(variant, server.url, variant.bring(sign()));
    await client.until('connect');
    assert.equal(await client.ask('echo', 'hello'), 'hello');
    const refused = connect(variant, server.url, variant.bring('nonsense'));
    assert.deepEqual(await variant.refused(refused), refusal('invalid_token', 'jwt malformed'));
  }
  await server.stop();
  const n = both.length;
  const want = { 'socket.io connect': n, 'socket.io event echo': n, 'look up': n, 'socket.io unauthorized': n };
  await eventually(() => {
    const spans = {};
    for (const [, name] of server.errors.matchAll(/^{"Name":"([^"]*)"/gm)) spans[name] = (spans[name] ?? 0) + 1;
    assert.deepEqual(spans, want);
  });
  assert.doesNotMatch(server.errors, /eyJhbGci|nonsense|hello|"red"/);
});
