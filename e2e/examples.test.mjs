// The programs in examples/, as a user starts them.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { aMoment, connect, here, matrix, refusal, secret, sign, startProgram, unauthorized } from './helper.mjs';

const limit = { timeout: 60_000 };
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
    for (const token of [of('north', 'the secret of south, at least 32 bytes'), of('west'), of(undefined)]) {
      const client = authenticate(token);
      assert.deepEqual(await client.until('unauthorized'), [unauthorized('invalid_token', 'invalid signature')]);
      assert.deepEqual(await client.until('disconnect'), ['io server disconnect']);
    }
    await server.stop();
  });

  test(`chat: ${variant.name}`, limit, async () => {
    const server = await start('chat', ['-client', join(here, 'node_modules/socket.io-client/dist')]);
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

test('an empty secret is refused at start', limit, async () => {
  await assert.rejects(start('static-secret', [], { JWT_SECRET: '' }), /Secret/);
});
