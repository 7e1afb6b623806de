import type { Command } from 'commander';
import type { Runner } from './leaf.js';

/**
 * Which file has which commands, so that `dog` loads the one it needs and no other: of its start, loading all of them
 * was three quarters. `test/unit/cli/loading.test.ts` holds the names against what the files really add.
 */

/** Adds commands to a group, or to the program itself. */
export type Register = (parent: Command, runner: Runner) => void;

export interface Part {
  /** What `load` adds to the group, by name. */
  readonly commands: readonly string[];
  readonly load: () => Promise<Register>;
  /** It looks at the tree of commands itself, so the tree must be whole. */
  readonly needsAll?: boolean;
}

export interface Group {
  /** '': the program itself. */
  readonly name: string;
  readonly summary: string;
  readonly description: string;
  readonly parts: readonly Part[];
}

function part(commands: string, load: () => Promise<Register>): Part {
  return { commands: commands.split(' '), load };
}

const cluster: readonly Part[] = [
  part('up down destroy', async () => (await import('./commands/cluster-local.js')).localClusterCommands),
  part('info format shutdown', async () => (await import('./commands/cluster.js')).clusterCommands),
  part(
    'check reweight alter-copy',
    async () => (await import('./commands/cluster-manage.js')).clusterManageCommands,
  ),
  part(
    'recover settings',
    async () => (await import('./commands/cluster-recover.js')).clusterRecoverCommands,
  ),
  part('accept-loss', async () => (await import('./commands/node-lost.js')).acceptLossCommands),
  part('scrub', async () => (await import('./commands/cluster-scrub.js')).clusterScrubCommands),
  part('upgrade', async () => (await import('./commands/node-upgrade.js')).clusterUpgradeCommands),
  part(
    'coordinator move-coordinator',
    async () => (await import('./commands/cluster-coordinator.js')).clusterCoordinatorCommands,
  ),
  part('token join', async () => (await import('./commands/cluster-join.js')).clusterJoinCommands),
  part('snapshot', async () => (await import('./commands/cluster-snapshot.js')).clusterSnapshotCommands),
];

const node: readonly Part[] = [
  part('list info stat', async () => (await import('./commands/node.js')).nodeCommands),
  part('recovery', async () => (await import('./commands/node-recovery.js')).nodeRecoveryCommands),
  part('md', async () => (await import('./commands/node-md.js')).nodeMdCommands),
  part('kill log', async () => (await import('./commands/node-manage.js')).nodeManageCommands),
  part(
    'drain out in weight zone vnodes maintenance remove',
    async () => (await import('./commands/node-members.js')).nodeMemberCommands,
  ),
  part('lost', async () => (await import('./commands/node-lost.js')).nodeLostCommands),
  part('upgrade', async () => (await import('./commands/node-upgrade.js')).nodeUpgradeCommands),
];

const vdi: readonly Part[] = [
  part('list tree info', async () => (await import('./commands/vdi-list.js')).vdiListCommands),
  part(
    'create resize snapshot clone rollback delete rename',
    async () => (await import('./commands/vdi-change.js')).vdiChangeCommands,
  ),
  part('read write', async () => (await import('./commands/vdi-data.js')).vdiDataCommands),
  part('setattr getattr', async () => (await import('./commands/vdi-attributes.js')).vdiAttributeCommands),
  part('object', async () => (await import('./commands/vdi-object.js')).vdiObjectCommands),
  part('track', async () => (await import('./commands/vdi-track.js')).vdiTrackCommands),
  part('graph', async () => (await import('./commands/vdi-graph.js')).vdiGraphCommands),
  part('check', async () => (await import('./commands/vdi-check.js')).vdiCheckCommands),
  part('backup restore', async () => (await import('./commands/vdi-backup.js')).vdiBackupCommands),
  part('lock', async () => (await import('./commands/vdi-lock.js')).vdiLockCommands),
  part('alter-copy', async () => (await import('./commands/vdi-alter.js')).vdiAlterCommands),
];

const image: readonly Part[] = [
  part('add list info remove', async () => (await import('./commands/image.js')).imageCommands),
];

const vm: readonly Part[] = [
  part('create', async () => (await import('./commands/vm-create.js')).vmCreateCommands),
  part(
    'disk attach detach resize reconnect',
    async () => (await import('./commands/vm-disks.js')).vmDiskCommands,
  ),
  part('migrate', async () => (await import('./commands/vm-migrate.js')).vmMigrateCommands),
  part(
    'savevm loadvm listvm delvm',
    async () => (await import('./commands/vm-checkpoint.js')).vmCheckpointCommands,
  ),
  part('hooks', async () => (await import('./commands/vm-hooks.js')).vmHooksCommands),
  part('hook', async () => (await import('./commands/vm-hook.js')).vmHookCommands),
];

const alone: readonly Part[] = [
  part('doctor', async () => (await import('./commands/doctor.js')).doctorCommands),
  part('tools', async () => (await import('./commands/tools.js')).toolsCommands),
  part('relay', async () => (await import('./commands/relay.js')).relayCommands),
  {
    commands: ['completion'],
    load: async () => (await import('./commands/completion.js')).completionCommands,
    needsAll: true,
  },
];

/** In the order of the help. */
export const catalog: readonly Group[] = [
  {
    name: 'cluster',
    summary: 'start, stop and format a cluster',
    description: 'Commands for the whole cluster.',
    parts: cluster,
  },
  { name: 'node', summary: 'look at the sheep', description: 'Commands for the sheep.', parts: node },
  {
    name: 'vdi',
    summary: 'volumes, snapshots, their data',
    description: 'Commands for volumes (VDIs) and their snapshots.',
    parts: vdi,
  },
  {
    name: 'image',
    summary: 'installation CDs and other files kept as volumes',
    description: 'Commands for images: files kept as volumes that nobody can change.',
    parts: image,
  },
  {
    name: 'vm',
    summary: "volumes in libvirt's domains",
    description: "Commands for libvirt's domains on this host; they run the host's virsh.",
    parts: vm,
  },
  { name: '', summary: '', description: '', parts: alone },
];

/**
 * The parts that a command line can mean: its group and its command stand somewhere in it. Others may be among them;
 * the one that is meant is missing only when the line does not name a command.
 */
export function partsNamed(argv: readonly string[]): ReadonlySet<Part> {
  const words = new Set(argv);
  const named = catalog
    .filter(({ name }) => name === '' || words.has(name))
    .flatMap(({ parts }) => parts.filter(({ commands }) => commands.some((word) => words.has(word))));
  return new Set(named.some(({ needsAll }) => needsAll) ? allParts() : named);
}

export function allParts(): ReadonlySet<Part> {
  return new Set(catalog.flatMap(({ parts }) => parts));
}
