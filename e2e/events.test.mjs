// Events of any name and their arguments and acknowledgements, and what a handler or a client does wrong.
import { test, describe } from 'node:test';
import assert from 'node:assert/strict';
import { aMoment, connect, eventually, matrix, sign, withServer, within, Witness } from './helper.mjs';

const limit = { timeout: 60_000 };
const bytes = length => Buffer.from(Array.from({ length }, (_, i) => i % 256));

const plainNames = [
  'quote " backslash \\ slash /', 'line\nfeed\ttab \u0000 \u001f \u007f', 'comma, comma', '[brackets]', '["', '"]', '{"a":1}', '51-["x"]', '/admin,',
  ' blanks ', ' ', '0', '123', '-1', '1.5', 'null', 'true', '__proto__', 'constructor', 'a'.repeat(500)
];
const otherNames = ['é ß 漢字', '👩‍🚀 𝒳', '\u2028\u2029', 'ça, "là" [ici]'];

for (const variant of matrix) {
  // Clients 1.x encode the text of polling payloads twice, see transport.test.mjs.
  const names = variant.client === 'client 1.7.4' && variant.kind !== 'websocket' ? plainNames : [...plainNames, ...otherNames];

  describe(variant.name, () => {
    const serve = (body, more) => withServer({ handshake: true, namespaces: ['/', '/admin'] }, async server => {
      const client = connect(variant, server.url, { query: `token=${sign()}` });
      await client.until('welcome');
      await body(client, server);
      assert.deepEqual(client.all('disconnect'), []);
      client.close();
      await eventually(async () => assert.equal((await server.stats()).sockets, 0));
    }, more);

    test('event names', limit, () =>
      serve(async root => {
        const admin = new Witness(root.socket.io.socket('/admin'));
        await admin.until('welcome');
        for (const { socket } of [root, admin]) {
          const seen = {};
          const acknowledged = {};
          await Promise.all(names.map(name => within(JSON.stringify(name), resolve => {
            const check = () => { if (Object.hasOwn(seen, `_${name}`) && Object.hasOwn(acknowledged, `_${name}`)) resolve(); };
            socket.on(name, value => { seen[`_${name}`] = value; check(); });
            socket.emit(name, [name], value => { acknowledged[`_${name}`] = value; check(); });
          })));
          const expected = Object.fromEntries(names.map(name => [`_${name}`, [name]]));
          assert.deepEqual(seen, expected);
          assert.deepEqual(acknowledged, expected);
        }
      }, { echoes: names }));

    test('names of broadcasts', limit, () =>
      serve(async (root, server) => {
        for (const name of names) {
          const seen = within(JSON.stringify(name), resolve => root.socket.on(name, resolve));
          await server.broadcast('/', name, name);
          assert.equal(await seen, name);
        }
      }));

    test('arguments: none, null, too many', limit, () =>
      serve(async root => {
        assert.equal(await root.ask('echo'), null);
        assert.equal(await root.ask('echo', null), null);
        assert.equal(await root.ask('echo', 1, 2, 3), 1);
        for (const value of [0, '', false, [], {}, [null], { a: { b: [1, 'x', null] } }, 1e300, '["51-"]']) {
          assert.deepEqual(await root.ask('echo', value), value);
        }
        root.socket.emit('number');
        root.socket.emit('number', null);
        root.socket.emit('number', 7, 'more', [8]);
        await root.until('number', 3);
        assert.deepEqual(root.all('number'), [[0], [0], [7]]);
      }));

    test('acknowledgements: of a handler without a result, of several, and none asked for', limit, () =>
      serve(async root => {
        const answer = (event, ...args) => within(`acknowledgement of ${event}`, resolve =>
          root.socket.emit(event, ...args, (...results) => resolve(results)));
        assert.deepEqual(await answer('nothing', 'text'), []);
        assert.deepEqual(await answer('nothing'), []);
        const [n, texts, blob] = await answer('several', 'text', 6);
        assert.deepEqual([n, texts, Buffer.from(blob).toString()], [7, ['text', 'text'], 'text']);
        root.socket.emit('several', 'text', 6); // nobody waits
        assert.equal(await root.ask('echo', 'last'), 'last');
      }));

    test('binary, and acknowledgements of it, both ways', limit, () =>
      serve(async root => {
        root.socket.on('question', (n, blob, answer) => answer(n + 1, Buffer.concat([Buffer.from(blob), Buffer.from('!')])));
        const sizes = [0, 1, 125, 126, 1000, 65_535, 65_536, 200_000];
        for (const size of sizes) root.socket.emit('ask for bytes', size, bytes(size));
        await root.until('answered', sizes.length);
        for (const [i, [n, blob]] of root.all('answered').entries()) {
          assert.equal(n, sizes[i] + 1);
          assert.ok(Buffer.concat([bytes(sizes[i]), Buffer.from('!')]).equals(Buffer.from(blob)), `${sizes[i]} bytes differ`);
        }
      }));

    test('a value of the wrong type and a panic drop the event, and no more', limit, () =>
      serve(async (root, server) => {
        let answers = 0;
        const answered = () => { answers++; };
        root.socket.emit('number', 'seven', answered);
        root.socket.emit('number', { a: 1 });
        root.socket.emit('binary', 1, 'no buffer');
        root.socket.emit('panic', answered);
        root.socket.emit('unknown', 1, answered);
        root.socket.emit('number', 8);
        assert.deepEqual(await root.until('number'), [8]);
        await aMoment();
        assert.equal(answers, 0);
        assert.deepEqual(root.log, [['connect'], ['welcome', { namespace: '/', subject: 'red' }], ['number', 8]]);
        const { errors, handshakes } = await server.stats();
        assert.equal(handshakes, 1);
        assert.equal(errors.length, 3, errors.join('\n'));
        for (const [i, pattern] of [/"number".*argument 1/, /"number".*argument 1/, /"binary".*argument 2/].entries()) {
          assert.match(errors[i], pattern);
        }
        assert.match(server.errors, /panic.*OnEvent|OnEvent.*panic/);
      }));
  });
}
