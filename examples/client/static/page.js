'use strict';

// The buttons and the log of each mode. How the client works is in the package, socketiojwt.js.
const events = ['connect', 'authenticated', 'welcome', 'token_expiring', 'unauthorized', 'connect_error', 'disconnect'];

for (const panel of document.querySelectorAll('section')) {
  panel.append(document.querySelector('template').content.cloneNode(true));
  const element = name => panel.querySelector('.' + name);
  let connection;
  let first; // the next token is the first since somebody chose

  // Asks the server for a token. In an application this is its log-in route, or the one that renews.
  async function freshToken() {
    const chosen = element('kind').value;
    const kind = chosen === 'expired' && !first ? 'good' : chosen;
    first = false;
    const response = await fetch('token?kind=' + kind, { method: 'POST' });
    log('new token', response.ok ? kind : await response.text());
    return response.ok ? (await response.json()).token : undefined; // nobody is logged in
  }

  function log(what, detail = '') {
    const line = document.createElement('li');
    const time = document.createElement('time');
    time.textContent = new Date().toLocaleTimeString('en-GB');
    const more = document.createElement('code');
    more.textContent = typeof detail === 'string' ? detail : JSON.stringify(detail);
    line.append(time, what, more);
    element('log').append(line);
    element('log').scrollTop = element('log').scrollHeight;
  }

  // state is for the style sheet: out, connecting, in, away, expired or refused.
  function showStatus(state, text) {
    element('status').dataset.state = state;
    element('status').textContent = text;
  }

  function connect() {
    if (connection) connection.close();
    first = true;
    showStatus('connecting', 'Connecting');
    let out = false;
    const mine = connection = socketiojwt.connect(io, '/', {
      mode: panel.id,
      token: freshToken,
      onOut: reason => {
        out = true;
        log('out', reason.message);
        if (connection === mine) showStatus('refused', 'Out: ' + reason.code);
      },
      path: `/${panel.id}/socket.io`
    });
    for (const event of events) {
      mine.socket.on(event, detail => log(event, detail instanceof Error ? detail.data || detail.message : detail));
    }
    const show = (state, text) => () => {
      if (connection === mine && !out) showStatus(state, text);
    };
    mine.socket.on('welcome', show('in', 'Connected'));
    mine.socket.on('unauthorized', ({ message }) => {
      if (message === 'jwt expired') show('expired', 'Token expired')();
    });
    mine.socket.on('connect_error', show('away', 'Not yet connected'));
    mine.socket.on('disconnect', reason => show(...reason === 'io client disconnect' ? ['out', 'Not connected'] : ['away', 'Coming back'])());
  }

  element('kind').addEventListener('change', () => { first = true; });
  element('connect').addEventListener('click', connect);
  element('disconnect').addEventListener('click', () => connection && connection.close());
  element('whoami').addEventListener('click', () => connection && connection.socket.emit('whoami', user => log('you are', user)));
}
