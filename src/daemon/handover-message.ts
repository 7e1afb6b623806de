/**
 * What an old and a new process of one sheep say to each other. The old one starts the new one with the descriptors it
 * hands over, names them in the environment, and then both talk over Node's channel between parent and child:
 *
 *   new -> old   ready          the program is loaded and its configuration read; nothing of the store was touched
 *   old -> new   go             volumes, store and lease are given up: go on
 *   new -> old   serving        it serves, and has written the pid file: the old process may end
 *   old -> new   connection     one connection of a client, as a handle, with what was read from it too soon (base64)
 *   new -> old   failed, why    in place of ready or serving; the process ends
 *
 * A channel that breaks before `go` ends the new process; after `go` it serves alone.
 * The environment variable holds JSON: {"version": 1, "lock": fd, "sockets": {"nbd": fd, ...}}.
 */
import type { DoorName } from './handover-sockets.js';

export const INHERITANCE_VARIABLE = 'SHEEPFOLD_INHERITANCE';
/** Another version of the program that does not know this one refuses before anything was given up. */
export const INHERITANCE_VERSION = 1;

export interface Inheritance {
  readonly version: number;
  /** The descriptor that holds the lock of the sheep's directory. */
  readonly lock: number;
  readonly sockets: Readonly<Partial<Record<DoorName, number>>>;
}

export type HandoverMessage =
  | { readonly handover: 'ready' | 'go' | 'serving' }
  | { readonly handover: 'connection'; readonly unread: string; readonly silent: boolean }
  | { readonly handover: 'failed'; readonly why: string };

const kinds: ReadonlySet<string> = new Set(['ready', 'go', 'serving', 'connection', 'failed']);

export function isHandoverMessage(value: unknown): value is HandoverMessage {
  const kind = (value as { handover?: unknown } | null)?.handover;
  return typeof kind === 'string' && kinds.has(kind);
}
