'use strict';

// A well-formed token with a signature nobody made.
const FORGED = 'eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJyZWQifQ.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA';

const element = id => document.getElementById(id);
let socket;
let token; // of this login, renewed from time to time
let revokedToken; // of the login before

// Logging in and out -------------------------------------------------------------

// The users of this demo. Where passwords are secrets, no page knows them.
for (const button of document.querySelectorAll('[data-user]')) {
  button.addEventListener('click', () => logIn(button.dataset.user, button.dataset.user + '-demo'));
}

element('login').addEventListener('submit', event => {
  event.preventDefault();
  logIn(element('user').value, element('password').value);
});

async function logIn(user, password) {
  element('problem').textContent = '';
  try {
    const response = await post('login', {
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ user, password })
    });
    connect(await response.json());
  } catch (error) {
    element('problem').textContent = error.message;
  }
}

element('logout').addEventListener('click', async () => {
  const mine = socket; // it may be told before the answer is here
  try {
    await post('logout', { headers: { Authorization: 'Bearer ' + token } });
    if (socket === mine) loggedOut();
  } catch (error) {
    if (socket === mine) leave('out', 'Not connected', 'The server has not logged you out: ' + error.message);
  }
});

function loggedOut() {
  leave('out', 'Logged out');
  revokedToken = token;
  element('revoked').hidden = false;
}

async function post(path, request) {
  const response = await fetch(path, { method: 'POST', ...request });
  if (!response.ok) throw new Error((await response.text()).trim());
  return response;
}

// The connection -------------------------------------------------------------------

// auth is asked for each connection, also for one that comes back.
const openSocket = token => io({ forceNew: true, auth: callback => callback({ token: token() }) });

function connect(login) {
  leave('connecting', 'Connecting');
  use(login);
  const mine = openSocket(() => token);
  socket = mine;

  mine.on('welcome', user => {
    showStatus('in', 'Connected as ' + user);
    show('room');
    element('password').value = '';
    element('text').focus();
  });
  mine.on('chat', ({ from, text }) => addMessage(from, text));

  mine.on('token_expiring', async () => {
    if (!element('renew').checked) return;
    try {
      const response = await post('refresh', { headers: { Authorization: 'Bearer ' + token } });
      const fresh = await response.json();
      if (socket !== mine) return; // logged out meanwhile
      use(fresh);
      mine.emit('authenticate', { token });
    } catch {
      if (socket === mine) showStatus('in', 'Your token cannot be renewed');
    }
  });

  let refusal = {};
  mine.on('unauthorized', ({ data }) => { refusal = data; });
  mine.on('connect_error', error => {
    if (error.data) refused(error.data);
    else showStatus('away', 'The server does not answer, trying again');
  });
  mine.on('disconnect', reason => {
    if (reason === 'io server disconnect') refused(refusal);
    else showStatus('away', 'Connection lost, trying again'); // with the same token
  });
}

function use(answer) {
  token = answer.token;
  element('until').textContent = new Date(Date.now() + 1000 * answer.expiresIn).toLocaleTimeString();
}

function refused({ code = 'no reason given', message = '' }) {
  if (code === 'logged_out') loggedOut();
  else if (message === 'jwt expired') leave('expired', 'Token expired', 'Your login has expired. Log in again.');
  else leave('refused', 'Refused: ' + code, 'The server says: ' + message);
}

function leave(state, text, problem = '') {
  if (socket) socket.removeAllListeners().close();
  socket = undefined;
  element('messages').replaceChildren();
  element('problem').textContent = problem;
  showStatus(state, text);
  const focusGoes = !element('room').hidden;
  show('login');
  if (focusGoes) document.querySelector('[data-user]').focus();
}

// What is seen -----------------------------------------------------------------------

// state is for the style sheet: out, connecting, in, away, expired or refused.
function showStatus(state, text) {
  element('status').dataset.state = state;
  element('status').textContent = text;
}

function show(part) {
  element('login').hidden = part !== 'login';
  element('room').hidden = part !== 'room';
}

function addMessage(from, text) {
  const who = document.createElement('b');
  who.textContent = from;
  const line = document.createElement('li');
  line.dataset.from = from;
  line.append(who, ' ', text);
  element('messages').append(line);
  line.scrollIntoView({ block: 'nearest' });
}

element('talk').addEventListener('submit', event => {
  event.preventDefault();
  if (!socket) return;
  socket.emit('chat', element('text').value);
  element('text').value = '';
});

// Refusals -----------------------------------------------------------------------------

element('forged').addEventListener('click', () => showRefusal(FORGED));
element('revoked').addEventListener('click', () => showRefusal(revokedToken));

function showRefusal(bad) {
  const refused = openSocket(() => bad);
  const tell = text => {
    element('reason').textContent = text;
    element('refused').hidden = false;
    refused.close();
  };
  refused.on('connect', () => tell('It is good: you are connected.'));
  refused.on('connect_error', error => tell(error.data ? JSON.stringify(error.data, null, 2) : 'The server does not answer.'));
}
