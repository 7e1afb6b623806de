/** Libvirts that Debian does not ship, as scripts build and cache them: one of old, and one of modular daemons. */
import { join } from 'node:path';
import { ifComplete, type PreparedTest, preparedFolder, requiresPrepared } from './prepared.js';

export interface OldLibvirt {
  /** It runs what the variable SHEEPFOLD_DOG names. */
  readonly libvirtd: string;
  readonly virsh: string;
}

/** A `test` whose body gets libvirt 7.0 with its storage backend for sheepdog, or a skip by name. */
export function requiresOldLibvirt(test: PreparedTest) {
  return requiresPrepared(test, oldLibvirt(), 'the old libvirt: scripts/old-libvirt.sh');
}

export interface ModularLibvirt {
  readonly virtqemud: string;
  readonly virtstoraged: string;
}

/** A `test` whose body gets modular daemons, or a skip by name. */
export function requiresModularLibvirt(test: PreparedTest) {
  return requiresPrepared(test, modularLibvirt(), 'virtqemud: scripts/virtqemud.sh');
}

/** Undefined when nobody has built it here. */
export function oldLibvirt(): OldLibvirt | undefined {
  const folder = preparedFolder('old-libvirt.sh');
  if (folder === undefined) return undefined;
  return ifComplete({ libvirtd: join(folder, 'sbin/libvirtd'), virsh: join(folder, 'bin/virsh') });
}

function modularLibvirt(): ModularLibvirt | undefined {
  const folder = preparedFolder('virtqemud.sh');
  if (folder === undefined) return undefined;
  return ifComplete({
    virtqemud: join(folder, 'sbin/virtqemud'),
    virtstoraged: join(folder, 'sbin/virtstoraged'),
  });
}
