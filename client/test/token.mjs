// Tokens: HS256, and what socketiojwt says of those that are not good.
import { createHmac } from 'node:crypto';

export const secret = 'a secret for tests, of 32 bytes or more';

export const refusal = (code, message) => ({ message, code, type: 'UnauthorizedError' });

const encode = value => Buffer.from(JSON.stringify(value)).toString('base64url');
const decode = part => JSON.parse(Buffer.from(part, 'base64url'));
const signature = (text, key) => createHmac('sha256', key).update(text).digest('base64url');

// A token that is good for an hour. seconds: its life; exp counts in whole seconds, so it is up to one more.
export function sign({ seconds = 3600, ...claims }, { kid, key = secret } = {}) {
  const text = [{ alg: 'HS256', typ: 'JWT', kid }, { exp: Math.ceil(Date.now() / 1000) + seconds, ...claims }].map(encode).join('.');
  return `${text}.${signature(text, key)}`;
}

export function verify(token, revoked) {
  const refuse = (code, message) => ({ error: refusal(code, message) });
  if (token === undefined) return refuse('credentials_required', 'no token provided');
  const [head, body, mac] = token.split('.');
  if (decode(head).kid === 'fails') return refuse('invalid_secret', 'secret unavailable');
  if (mac !== signature(`${head}.${body}`, secret)) return refuse('invalid_token', 'invalid signature');
  const claims = decode(body);
  if (claims.exp * 1000 <= Date.now()) return refuse('invalid_token', 'jwt expired');
  if (revoked.has(claims.jti)) return refuse('invalid_token', 'jwt revoked');
  return { claims };
}
