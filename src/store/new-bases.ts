/** Folders with names of bases that may not be durable yet. */
import { BASE_FOLDER } from './bases.js';
import type { Disk } from './disk.js';

export class NewBases {
  /** With the generation of the journal segment that has the newest of its names. */
  private readonly folders = new Map<string, number>();

  add(folder: string, generation: number): void {
    this.folders.set(folder, generation);
  }

  /** Names of this generation, and of those before it, are durable. */
  checkpointed(generation: number): void {
    for (const [folder, newest] of this.folders) if (newest <= generation) this.folders.delete(folder);
  }

  /** Makes all of them durable. */
  async sync(disk: Disk): Promise<void> {
    if (this.folders.size === 0) return;
    for (const folder of [...this.folders.keys()]) await disk.syncDir(folder);
    await disk.syncDir(BASE_FOLDER);
  }
}
