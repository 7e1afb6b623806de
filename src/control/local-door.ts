import { accessSync, constants } from 'node:fs';
import type { NodeDoors } from './api.js';

/**
 * The sheep's NBD door on a unix socket, if it is on this host and may be used: a port forwarded from another host
 * leads to a sheep whose socket is not here. For clients; faster than TCP.
 */
export function localNbdSocket({ nbdSocket }: NodeDoors): string | undefined {
  if (nbdSocket === undefined) return undefined;
  try {
    accessSync(nbdSocket, constants.R_OK | constants.W_OK);
    return nbdSocket;
  } catch {
    return undefined;
  }
}
