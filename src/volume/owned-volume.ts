import type { Session } from '../cluster/objects/object-client.js';
import type { Forwarded } from './forwarded.js';
import type { VolumeDevice } from './volume-device.js';

/** A volume this node owns. */
export interface OwnedVolume {
  readonly line: string;
  /** The owner's record in the coordinator, exactly. */
  readonly claim: string;
  readonly device: VolumeDevice;
  readonly session: Session;
  handles: number;
  /** Requests under way, local and from other gateways. */
  busy: number;
  /** Nothing new is begun here: the volume is being given up. */
  releasing: boolean;
  /** When another gateway last asked for something. */
  lastServedMs: number;
  /** What other gateways asked for. */
  readonly forwarded: Forwarded;
}

/**
 * Nothing is under way. That includes the answers which other gateways have not confirmed: one that was lost is asked
 * for again, and the next owner would do the change twice (forwarded.ts).
 */
export function isIdle({ busy, forwarded }: OwnedVolume): boolean {
  return busy === 0 && forwarded.size === 0;
}
