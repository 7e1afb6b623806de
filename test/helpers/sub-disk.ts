/** A folder of a disk as a disk of its own: several disks that die and come back with one machine. */
import type { Disk, DiskFile } from '../../src/store/disk.js';

/** The folder is made durably when it is not there. `isLost`: the device is gone; every call throws what it returns. */
export async function subDisk(
  disk: Disk,
  folder: string,
  isLost: () => Error | undefined = () => undefined,
): Promise<Disk> {
  if (!disk.exists(folder)) {
    disk.mkdir(folder);
    await disk.syncDir('.');
  }
  const full = (path: string): string => (path === '' || path === '.' ? folder : `${folder}/${path}`);
  const alive = (): Disk => {
    const error = isLost();
    if (error !== undefined) throw error;
    return disk;
  };
  return {
    open: (path, options) => failing(alive().open(full(path), options), isLost),
    exists: (path) => alive().exists(full(path)),
    list: (path) => alive().list(full(path)),
    mkdir: (path) => alive().mkdir(full(path)),
    rename: (from, to) => alive().rename(full(from), full(to)),
    link: (from, to) => alive().link(full(from), full(to)),
    unlink: (path) => alive().unlink(full(path)),
    rmdir: (path) => alive().rmdir(full(path)),
    syncDir: async (path) => alive().syncDir(full(path)),
    space: () => ({ ...alive().space(), device: 1 }),
  };
}

/** Open files of a lost device fail too. */
function failing(file: DiskFile, isLost: () => Error | undefined): DiskFile {
  return new Proxy(file, {
    get(target, name) {
      const value = Reflect.get(target, name) as unknown;
      if (typeof value !== 'function') return value;
      return (...args: unknown[]) => {
        const error = name === 'close' ? undefined : isLost();
        if (error === undefined) return (value as (...all: unknown[]) => unknown).apply(target, args);
        if (name === 'sync' || name === 'readAsync') return Promise.reject(error);
        throw error;
      };
    },
  });
}
