import { createHash, randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { AppError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import type { Cluster } from './cluster-link.js';
import { decodeRecord, RECORD_KEY } from './file-record.js';
import { ASIDE_PREFIX } from './names.js';

/**
 * Names of volumes that a mount has set aside: files that were unlinked while they were open, files about to be
 * replaced by a rename, clones about to take a name. Each mount has a prefix of its own, of its host and its place,
 * so that the next mount there knows what a crash has left.
 */
export class AsideNames {
  private readonly prefix: string;

  constructor(mountpoint: string) {
    const place = createHash('sha256').update(`${hostname()}\0${mountpoint}`).digest('hex').slice(0, 16);
    this.prefix = `${ASIDE_PREFIX}${place}-`;
  }

  next(): string {
    return this.prefix + randomBytes(8).toString('hex');
  }

  /**
   * Deletes what an earlier mount here has left behind, but gives back a name that was to be replaced and now is
   * missing: then the crash came between the two halves of a rename.
   */
  async sweep(cluster: Cluster, log: Logger): Promise<void> {
    const rows = await cluster.call('vdi.list', {});
    for (const { name, snapshot } of rows) {
      if (snapshot || !name.startsWith(this.prefix)) continue;
      const wanted = await this.wantedName(cluster, name);
      try {
        if (wanted === undefined) await cluster.call('vdi.delete', { name });
        else await cluster.call('vdi.rename', { name, newName: wanted });
        log.info(
          { name, wanted },
          wanted === undefined ? 'a file left over is deleted' : 'a rename is undone',
        );
      } catch (error) {
        if (!AppError.isCode(error, 'no-vdi')) log.warn({ err: error, name }, 'a file left over stays');
      }
    }
  }

  private async wantedName(cluster: Cluster, name: string): Promise<string | undefined> {
    try {
      const { value } = await cluster.call('vdi.getattr', { name, key: RECORD_KEY });
      const wanted = decodeRecord(value)?.replaced;
      if (wanted === undefined) return undefined;
      return (await exists(cluster, wanted)) ? undefined : wanted;
    } catch (error) {
      if (AppError.isCode(error, 'missing', 'no-vdi')) return undefined;
      throw error;
    }
  }
}

export async function exists(cluster: Cluster, name: string): Promise<boolean> {
  try {
    await cluster.call('vdi.info', { name });
    return true;
  } catch (error) {
    if (AppError.isCode(error, 'no-vdi')) return false;
    throw error;
  }
}
