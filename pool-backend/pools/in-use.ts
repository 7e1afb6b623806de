import { LibvirtError } from '../rpc/errors.js';
import type { Volume } from './volume.js';

/** Which volumes are being uploaded to, downloaded or copied here: meanwhile nobody deletes, wipes or resizes them. */
export class InUse {
  private readonly users = new Map<string, number>();

  /** Returns what ends the use; it may be called again. */
  enter(volume: Volume): () => void {
    const key = keyOf(volume);
    this.users.set(key, (this.users.get(key) ?? 0) + 1);
    let left = false;
    return () => {
      if (left) return;
      left = true;
      const others = this.users.get(key)! - 1;
      if (others === 0) this.users.delete(key);
      else this.users.set(key, others);
    };
  }

  /** Throws LibvirtError 'operation-invalid'. */
  refuse(volume: Volume): void {
    if (!this.users.has(keyOf(volume))) return;
    throw new LibvirtError('operation-invalid', `volume '${volume.name}' is still in use.`);
  }
}

const keyOf = ({ pool, name }: Volume): string => `${pool.uuid}/${name}`;
