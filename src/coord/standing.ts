import { AppError } from '../base/errors.js';
import type { Coordinator } from './coordinator.js';

/**
 * A cluster may move from one coordinator to another. Each says by one key where it stands; without the key it is
 * 'here'. The key is never deleted, so its modification revision tells every change of it.
 *
 * | State    | Meaning                                                                                     |
 * | -------- | ------------------------------------------------------------------------------------------- |
 * | here     | in force                                                                                    |
 * | moving   | in force, but nothing may be written while the mover (who holds MOVER_KEY) copies it to `to` |
 * | moved    | no longer in force: `to` is                                                                 |
 * | arriving | a copy: in force once the one it came from says 'moved' with the same id                    |
 *
 * So at any moment exactly one is in force, and what decides is one transaction: from 'moving' to 'moved' in the
 * old one.
 */
export const STANDING_KEY = 'cluster/coordinator';
/** On the lease of whoever moves the cluster. When it is gone, a move that was not decided is off. */
export const MOVER_KEY = 'cluster/mover';

export interface Standing {
  readonly state: 'here' | 'moving' | 'moved' | 'arriving';
  /** Of this move: a random text. */
  readonly id?: string;
  /** Address of the new one (moving, moved), or of the old one (arriving). */
  readonly to?: string;
  readonly from?: string;
  /** Which cluster of sheep this is, so that no other one is overwritten. */
  readonly cluster?: string;
}

export interface KnownStanding {
  readonly standing: Standing;
  readonly text: string | undefined;
  /** 0: the key is not there. */
  readonly modRevision: number;
}

/** Throws AppError as `get` does, and 'version' for a state that a later program wrote. */
export async function readStanding(coordinator: Coordinator): Promise<KnownStanding> {
  const kv = await coordinator.get(STANDING_KEY);
  return { standing: parseStanding(kv?.value), text: kv?.value, modRevision: kv?.modRevision ?? 0 };
}

export function parseStanding(text: string | undefined): Standing {
  if (text === undefined) return { state: 'here' };
  const standing = JSON.parse(text) as Standing;
  if (['here', 'moving', 'moved', 'arriving'].includes(standing.state)) return standing;
  throw new AppError('version', `the coordinator is in a state that this program does not know: ${text}`);
}

/** Changes the state if it is still the known one. False: it is not. Rejects as `txn` does. */
export async function changeStanding(
  coordinator: Coordinator,
  known: KnownStanding,
  standing: Standing,
  more: Parameters<Coordinator['txn']>[0] = [],
): Promise<boolean> {
  const same = { key: STANDING_KEY, modRevision: known.modRevision };
  const put = { type: 'put' as const, key: STANDING_KEY, value: JSON.stringify(standing) };
  return (await coordinator.txn([same, ...more], [put])).ok;
}
