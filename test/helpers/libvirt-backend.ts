/** A cluster, and a libvirt whose own backend for sheepdog runs our `dog` on it. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { OldLibvirt } from './built-libvirt.js';
import { dogMain } from './launcher.js';
import { type Libvirtd, withLibvirtds } from './libvirtd.js';
import { type RealCluster, withCluster } from './real-cluster.js';

const DEADLINE_MS = 220_000;

export interface BackendWorld {
  readonly cluster: RealCluster;
  readonly libvirtd: Libvirtd;
  /** For files, seen by libvirt under the same name. */
  readonly folder: string;
}

export function withBackend(
  { libvirtd: program }: OldLibvirt,
  env: Readonly<Record<string, string>>,
  body: (world: BackendWorld) => Promise<void>,
): Promise<void> {
  return withCluster({ deadlineMs: DEADLINE_MS }, async (cluster) => {
    const folder = cluster.folderFor('files');
    const dog = join(folder, 'dog');
    writeFileSync(dog, `#!/bin/sh\nexec '${process.execPath}' '${dogMain}' "$@"\n`, { mode: 0o755 });
    const host = { name: 'old', program, env: { ...env, SHEEPFOLD_DOG: dog } };
    await withLibvirtds([host], (libvirtd) => body({ cluster, libvirtd, folder }));
  });
}
