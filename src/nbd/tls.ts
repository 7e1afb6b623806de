import { randomBytes } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { createServer, type TLSSocket, type TlsOptions } from 'node:tls';
import { ConnectionEnded } from './byte-reader.js';

/** Encryption of the door. PEM texts and keys come from the configuration; this file opens nothing. */
export interface NbdTlsOptions {
  /** optional: clients choose. require: nothing is said to a client without TLS. */
  readonly mode: 'optional' | 'require';
  readonly credentials: TlsCredentials;
}

export type TlsCredentials =
  | {
      readonly type: 'certificate';
      readonly certPem: string;
      readonly keyPem: string;
      /** With it, clients must show a certificate signed by this authority. */
      readonly clientCaPem?: string;
    }
  | { readonly type: 'psk'; readonly keys: ReadonlyMap<string, Buffer> };

/**
 * GnuTLS clients (libnbd, QEMU) with pre-shared keys offer ECDHE-PSK, DHE-PSK and PSK under TLS 1.2 and external
 * keys under TLS 1.3. OpenSSL binds keys given by a callback to SHA-256, hence these suites.
 */
const PSK_CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-PSK-CHACHA20-POLY1305',
  'ECDHE-PSK-AES128-CBC-SHA256',
  'ECDHE-PSK-AES256-CBC-SHA384',
].join(':');

/**
 * Encrypts the server's side of a stream after STARTTLS was acknowledged. Rejects with ConnectionEnded when the
 * client cannot or will not; the stream is then destroyed. The caller's handshake deadline covers this too.
 */
export function upgradeToTls(stream: Duplex, credentials: TlsCredentials): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    // One server object per handshake: with a shared one there is no public way to tell whose socket became secure.
    const server = createServer(serverOptions(credentials));
    const fail = (error?: Error): void => {
      stream.destroy();
      reject(new ConnectionEnded(`TLS: ${error?.message ?? 'the client went away'}`, { cause: error }));
    };
    server.once('secureConnection', (secure) => {
      stream.off('close', onClose);
      resolve(secure);
    });
    const onClose = (): void => fail();
    server.on('tlsClientError', fail);
    stream.once('close', onClose);
    server.emit('connection', stream);
  });
}

function serverOptions(credentials: TlsCredentials): TlsOptions {
  if (credentials.type === 'certificate') {
    const { certPem, keyPem, clientCaPem } = credentials;
    const base: TlsOptions = { cert: certPem, key: keyPem, minVersion: 'TLSv1.2' };
    if (clientCaPem === undefined) return base;
    return { ...base, ca: clientCaPem, requestCert: true, rejectUnauthorized: true };
  }
  return {
    minVersion: 'TLSv1.2',
    ciphers: PSK_CIPHERS,
    // An unknown user gets a random key, so that the answer does not tell which names exist.
    pskCallback: (_socket, identity) => credentials.keys.get(identity) ?? randomBytes(32),
  };
}
