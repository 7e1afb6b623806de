import { AppError } from '../base/errors.js';
import type { NodeDoors } from '../control/api.js';
import { localNbdSocket } from '../control/local-door.js';
import type { NbdPlace } from './domain-xml.js';

/** Where a guest of this host finds its volumes: the NBD door of one sheep. */
export interface Door {
  readonly place: NbdPlace;
  readonly tls: boolean;
}

/**
 * The door to write into a domain: the sheep's unix socket if it is on this host, as it is faster; else TCP. Throws
 * AppError 'not-supported'.
 */
export function doorOf(sheep: { host: string }, doors: NodeDoors): Door {
  const tls = doors.nbdTls === 'require';
  const socket = localNbdSocket(doors);
  if (socket !== undefined) return { place: { socket }, tls };
  if (doors.nbdPort > 0) return { place: { host: sheep.host, port: doors.nbdPort }, tls };
  throw new AppError(
    'not-supported',
    'the sheep has no NBD door for guests of this host: see sheep --nbd-socket',
  );
}

/** Every place by which a sheep's NBD exports are known. */
export function placesOf(sheep: { host: string }, doors: NodeDoors): NbdPlace[] {
  return [
    ...(doors.nbdSocket === undefined ? [] : [{ socket: doors.nbdSocket }]),
    ...(doors.nbdPort > 0 ? [{ host: sheep.host, port: doors.nbdPort }] : []),
  ];
}
