'use strict';

const element = id => document.getElementById(id);
let socket;
let token;

element('node').textContent = location.host;

const withToken = (path, method = 'GET') => fetch(path, { method, headers: { Authorization: 'Bearer ' + token } });

element('login').addEventListener('submit', async event => {
  event.preventDefault();
  const response = await fetch('login', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ user: element('user').value, password: element('password').value })
  });
  if (!response.ok) return leave((await response.text()).trim());
  ({ token } = await response.json());
  connect();
});

function connect() {
  leave('Connecting');
  socket = io({ auth: { token }, forceNew: true });
  socket.on('welcome', user => {
    element('status').textContent = 'Connected as ' + user;
    show(true);
  });
  socket.on('chat', ({ from, text }) => {
    const line = document.createElement('li');
    line.textContent = from + ': ' + text;
    element('messages').append(line);
  });
  // While Redis is away, or was new, the server ends the connection without a reason, and the client
  // comes back by itself.
  socket.on('connect_error', error => {
    if (error.data) leave('Refused: ' + error.message);
    else element('status').textContent = 'The server does not answer, trying again';
  });
  socket.on('unauthorized', refusal => leave(refusal.message));
}

function leave(status) {
  if (socket) socket.removeAllListeners().close();
  socket = undefined;
  element('messages').replaceChildren();
  element('count').textContent = '';
  element('status').textContent = status;
  show(false);
}

function show(room) {
  element('room').hidden = !room;
  element('login').hidden = room;
}

element('talk').addEventListener('submit', event => {
  event.preventDefault();
  if (socket) socket.emit('chat', element('text').value);
  element('text').value = '';
});

element('online').addEventListener('click', async () => {
  const counts = await Promise.all(['red', 'blue'].map(async user => {
    const response = await withToken('online?user=' + user);
    return user + ': ' + (response.ok ? (await response.json()).sockets + ' pages' : 'cannot be asked');
  }));
  element('count').textContent = counts.join(', ');
});

element('logout').addEventListener('click', async () => {
  const response = await withToken('logout-everywhere', 'POST');
  if (!response.ok) element('status').textContent = (await response.text()).trim();
});
