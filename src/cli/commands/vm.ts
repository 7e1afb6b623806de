import type { Command } from 'commander';
import type { Runner } from '../leaf.js';
import { vmCheckpointCommands } from './vm-checkpoint.js';
import { vmCreateCommands } from './vm-create.js';
import { vmDiskCommands } from './vm-disks.js';
import { vmHookCommands } from './vm-hook.js';
import { vmHooksCommands } from './vm-hooks.js';
import { vmMigrateCommands } from './vm-migrate.js';

/** Virtual machines of libvirt on this host whose disks are volumes. */
export function vmCommands(program: Command, runner: Runner): void {
  const vm = program
    .command('vm')
    .summary("volumes in libvirt's domains")
    .description("Commands for libvirt's domains on this host; they run the host's virsh.");
  vmCreateCommands(vm, runner);
  vmDiskCommands(vm, runner);
  vmMigrateCommands(vm, runner);
  vmCheckpointCommands(vm, runner);
  vmHooksCommands(vm, runner);
  vmHookCommands(vm, runner);
}
