import { lstatSync, unlinkSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type ListenOptions, type Server } from 'node:net';
import { AppError } from '../base/errors.js';
import type { NbdServer } from './server.js';

/** Where to listen. A descriptor is one that listens already, inherited across a planned restart. */
export type NbdAddress = { host: string; port: number } | { path: string } | { fd: number };

export interface NbdListener {
  /** The port really bound (port 0 asks for any); undefined for a unix socket. */
  readonly port: number | undefined;
  /** Stops accepting; connections stay until the NBD server closes. */
  close(): Promise<void>;
}

const BACKLOG = 512;
/** A host that died without a word is noticed by probes after this silence. */
const KEEP_ALIVE_DELAY_MS = 30_000;

/** Listens on TCP or a unix socket and hands each connection to the server. Rejects with AppError 'network'. */
export async function listenNbd(nbd: NbdServer, address: NbdAddress): Promise<NbdListener> {
  if ('path' in address) await removeStaleSocket(address.path);
  const tcp = { noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_DELAY_MS };
  const server = createServer(tcp, (socket) => nbd.handle(socket));
  await listening(server, { ...address, backlog: BACKLOG });
  const bound = server.address() as AddressInfo | string | null;
  return {
    port: bound !== null && typeof bound === 'object' ? bound.port : undefined,
    close: () => stopAccepting(server),
  };
}

function listening(server: Server, options: ListenOptions | { fd: number; backlog: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) =>
      reject(new AppError('network', `NBD cannot listen: ${error.message}`, { cause: error })),
    );
    server.listen(options, resolve);
  });
}

/** server.close() would wait for connections; those end with the NBD server, so only the listening ends here. */
function stopAccepting(server: Server): Promise<void> {
  server.close();
  return Promise.resolve();
}

/**
 * A killed daemon leaves its socket file behind. It is removed only when it is a socket and nobody answers behind it:
 * never a file of another kind, never the door of a living daemon.
 */
export async function removeStaleSocket(path: string): Promise<void> {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return;
  if (!stat.isSocket())
    throw new AppError('network', `NBD cannot listen: ${path} exists and is not a socket`);
  if (await answers(path)) throw new AppError('network', `NBD cannot listen: ${path} is in use`);
  unlinkSync(path);
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect({ path });
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    // Anything but a refusal (permission, full backlog) means that we cannot know: then it stays.
    probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code !== 'ECONNREFUSED'));
  });
}
