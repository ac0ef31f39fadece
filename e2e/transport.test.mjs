// Nothing is lost, doubled or reordered, and a reason always arrives.
// RUNS says how often each client does it.
import { test, describe } from 'node:test';
import assert from 'node:assert/strict';
import { connect, eventually, inParallel, matrix, refusal, sign, unauthorized, withServer } from './helper.mjs';

const runs = Number(process.env.RUNS ?? 200);
const limit = { timeout: 180_000 };
const upTo = n => Array.from({ length: n }, (_, i) => [i]);
const bytes = (length, seed) => Buffer.from(Array.from({ length }, (_, i) => (i * 31 + seed) % 256));
const pause = ms => new Promise(resolve => setTimeout(resolve, ms));

// Each socket of a test leaves nothing behind.
const nothingLeft = server => eventually(async () => assert.equal((await server.stats()).sockets, 0));

for (const variant of matrix) {
  describe(variant.name, () => {
    test(`${runs} runs emit 80 numbers inside connect and get them back`, limit, () =>
      withServer({ handshake: true }, async server => {
        await inParallel(runs, async () => {
          const client = connect(variant, server.url, { query: { token: sign() } });
          client.socket.on('connect', () => {
            for (let i = 0; i < 80; i++) client.socket.emit('number', i);
          });
          await client.until('number', 80);
          if (variant.kind === 'upgrade') await client.upgraded();
          assert.deepEqual(await client.ask('echo', 'last'), 'last');
          assert.deepEqual(client.all('number'), upTo(80));
          assert.deepEqual(client.all('disconnect'), []);
          client.close();
        });
        await nothingLeft(server);
        assert.equal((await server.stats()).handshakes, runs);
      }));

    test('binary, acknowledgements and large messages, in order, both ways', limit, () =>
      withServer({ handshake: true }, async server => {
        await inParallel(20, async run => {
          const client = connect(variant, server.url, { query: { token: sign() } });
          const answers = [];
          client.socket.on('question', (question, answer) => answer(`${question}!`));
          client.socket.on('connect', () => {
            for (let i = 0; i < 20; i++) {
              client.socket.emit('number', i);
              client.socket.emit('binary', i, bytes(1 + i * 100, run));
              client.socket.emit('ask me', `question ${i}`);
              client.socket.emit('echo', i, answer => answers.push(answer));
            }
          });
          await Promise.all(['number', 'binary', 'question', 'answered'].map(event => client.until(event, 20)));
          const large = `${run} `.repeat(Math.ceil(500 * 1024 / `${run} `.length));
          assert.ok(await client.ask('echo', large) === large, 'the large message differs');
          const data = bytes(100_000, run);
          client.socket.emit('binary', 99, data);
          const [, back] = await client.until('binary', 21);
          assert.ok(data.equals(Buffer.from(back)), 'the large buffer differs');

          assert.deepEqual(client.all('number'), upTo(20));
          for (const [i, [n, buffer]] of client.all('binary').slice(0, 20).entries()) {
            assert.equal(n, i);
            assert.ok(bytes(1 + i * 100, run).equals(Buffer.from(buffer)), `buffer ${i} differs`);
          }
          assert.deepEqual(client.all('answered'), upTo(20).map(([i]) => [`question ${i}!`]));
          assert.deepEqual(answers, upTo(20).flat());
          client.close();
        });
        await nothingLeft(server);
      }));

    // Clients 1.x encode the text of polling payloads twice, and Node's servers
    // 2.x do not undo it either.
    const text = variant.client === 'client 1.7.4' && variant.kind !== 'websocket'
      ? 'plain \\ " \u0000 \n ASCII \x7f'
      : 'é ß 漢字 \u2028 👩‍🚀 𝒳 \u0000 " \\ \n';
    test(`texts such as ${JSON.stringify(text)}`, limit, () =>
      withServer({ handshake: true }, async server => {
        const client = connect(variant, server.url, { query: { token: sign() } });
        await client.until('connect');
        const pieces = Array.from({ length: 30 }, (_, i) => text.repeat(i) + i);
        assert.deepEqual(await Promise.all(pieces.map(piece => client.ask('echo', piece))), pieces);
        client.socket.emit('binary', 1, Buffer.from(text));
        const mixed = client.ask('echo', { [text]: [text] });
        assert.equal(Buffer.from((await client.until('binary'))[1]).toString(), text);
        assert.deepEqual(await mixed, { [text]: [text] });
        client.close();
        await nothingLeft(server);
      }));

    test(`the reason arrives ${runs} of ${runs} times in the round trip`, limit, () =>
      withServer({}, async server => {
        await inParallel(runs, async run => {
          const client = connect(variant, server.url);
          await client.until('connect');
          await pause(run % 16); // at another moment of the upgrade each time
          client.socket.emit('authenticate', { token: 'nonsense' });
          await client.until('disconnect');
          assert.deepEqual(client.log, [
            ['connect'], ['unauthorized', unauthorized('invalid_token', 'jwt malformed')], ['disconnect', 'io server disconnect']
          ]);
        });
        await nothingLeft(server);
        assert.equal((await server.stats()).handshakes, runs);
      }));

    test(`the reason arrives ${runs} of ${runs} times at the gate`, limit, () =>
      withServer({ handshake: true }, async server => {
        await inParallel(runs, async () => {
          const client = connect(variant, server.url, { query: { token: 'nonsense' } });
          await client.until('disconnect');
          assert.deepEqual(client.log, [
            ['error', refusal('invalid_token', 'jwt malformed')], ['disconnect', 'io server disconnect']
          ]);
        });
        await nothingLeft(server);
        assert.equal((await server.stats()).handshakes, runs);
      }));

    test(`the reason arrives ${runs} of ${runs} times in the hook of a namespace`, limit, () =>
      withServer({ handshake: true, namespaces: ['/admin'] }, async server => {
        await inParallel(runs, async () => {
          const client = connect(variant, `${server.url}/admin`, { query: 'token=nonsense' });
          await client.until('disconnect');
          assert.deepEqual(client.log, [
            ['error', refusal('invalid_token', 'jwt malformed')], ['disconnect', 'io server disconnect']
          ]);
        });
        assert.equal((await server.stats()).handshakes, runs);
      }, { public: ['/'] }));
  });
}
