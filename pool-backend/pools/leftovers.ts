import type { Clock } from '../../src/base/clock.js';
import { AppError } from '../../src/base/errors.js';
import type { Logger } from '../../src/base/log.js';
import { isCloneTag, isUnfinished } from './names.js';
import type { Pool } from './pool.js';

/** So old is nothing that somebody, on this host or another, is still making. */
const LEFTOVER_AGE_MS = 60 * 60 * 1000;

/** Removes what daemons that died half-way left in a pool: volumes not finished, snapshots made for a clone. */
export async function removeLeftovers(pool: Pool, clock: Clock, log: Logger): Promise<void> {
  const rows = await pool.ask('vdi.list', {});
  const isOld = (ms: number) => clock.wallMs() - ms > LEFTOVER_AGE_MS;
  for (const row of rows) {
    const isOldClone = row.snapshot && isCloneTag(row.tag) && isOld(row.snapshotMs);
    const isOldVolume = !row.snapshot && isUnfinished(pool.namespace, row.name) && isOld(row.createdMs);
    if (!isOldClone && !isOldVolume) continue;
    log.info({ pool: pool.name, vdi: row.name, tag: row.tag }, 'removing what was left half-made');
    const ref = row.snapshot ? { name: row.name, snapId: row.snapId } : { name: row.name };
    await pool.ask('vdi.delete', ref).catch((error: unknown) => {
      // Another host may have been faster.
      log.debug({ err: AppError.from(error).message }, 'not removed');
    });
  }
}
