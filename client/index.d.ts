/** Why a client is out: what the server said, or what `token` was rejected with. */
export interface Refusal {
  message: string;
  /** One of the codes in the README of the server, such as `invalid_token`. */
  code?: string;
  type?: string;
}

export interface Options {
  /**
   * Returns a new token of the user, or nothing if nobody is logged in.
   *
   * It is asked before the first connection, for each one after that, and when the token expires. If it
   * rejects, the last token is used until the server says that it has expired; then the client is out,
   * or, if the error has a `retryable` that is true, tries again with growing delays.
   */
  token: () => string | null | undefined | Promise<string | null | undefined>;

  /**
   * Where the server looks for the token: `handshake` (the default) in the request that opens the
   * connection, `roundtrip` in an `authenticate` event.
   */
  mode?: 'handshake' | 'roundtrip';

  /** Called once, when the server refuses the client for good or there is no token. The socket is closed. */
  onOut?: (reason: Refusal) => void;
}

export interface Connection<S> {
  /** The socket that `io` made. It stays the same while it connects and reconnects. */
  readonly socket: S;

  /** Closes the socket for good, also while a token is being fetched. `onOut` is not called any more. */
  close(): void;
}

/**
 * Connects, and keeps the socket connected and authenticated.
 *
 * @param io what `socket.io-client` exports, 2.x to 4.x
 * @param url as for `io`
 * @param options those below, and all of `io`
 */
export function connect<IO extends (url: string, options?: any) => any>(
  io: IO,
  url: string,
  options: Options & Parameters<IO>[1]
): Connection<ReturnType<IO>>;
