'use strict';

// A well-formed token with a signature nobody made.
const FORGED = 'eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJyZWQifQ.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA';

const element = id => document.getElementById(id);
let socket;

element('login').addEventListener('submit', async event => {
  event.preventDefault();
  element('problem').textContent = '';
  try {
    const response = await fetch('login', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ user: element('user').value, password: element('password').value })
    });
    if (!response.ok) throw new Error((await response.text()).trim());
    connect((await response.json()).token);
  } catch (error) {
    element('problem').textContent = error.message;
  }
});

function connect(token) {
  leave('Connecting');
  socket = io({ query: { token }, forceNew: true });
  socket.on('welcome', user => {
    element('status').textContent = 'Connected as ' + user;
    show('room');
    element('text').focus();
  });
  socket.on('chat', ({ from, text }) => addMessage(from, text));
  // The server refused the token: it is wrong, or its 15 minutes are over.
  socket.on('error', refusal => leave('Refused: ' + (refusal.message || refusal)));
  socket.on('disconnect', reason => {
    element('status').textContent = 'Disconnected: ' + reason;
  });
}

function leave(status) {
  if (socket) socket.removeAllListeners().close();
  socket = undefined;
  element('messages').replaceChildren();
  element('status').textContent = status;
  show('login');
}

function show(part) {
  element('login').hidden = part !== 'login';
  element('room').hidden = part !== 'room';
}

function addMessage(from, text) {
  const who = document.createElement('b');
  who.textContent = from;
  const line = document.createElement('li');
  line.className = 'from-' + from;
  line.append(who, text);
  element('messages').append(line);
  line.scrollIntoView({ block: 'nearest' });
}

element('talk').addEventListener('submit', event => {
  event.preventDefault();
  if (!socket) return;
  socket.emit('chat', element('text').value);
  element('text').value = '';
});

element('logout').addEventListener('click', () => leave('Not connected'));

element('refuse').addEventListener('click', () => {
  const refused = io({ query: { token: FORGED }, forceNew: true });
  const tell = text => {
    element('reason').textContent = text;
    element('refused').hidden = false;
    refused.close();
  };
  refused.on('error', refusal => tell(JSON.stringify(refusal, null, 2)));
  refused.on('connect_error', () => tell('The server does not answer.'));
});
