import type { Command } from 'commander';
import { Exit, exitCodes } from '../exit.js';
import { addLeaf, type Runner } from '../leaf.js';

const forms = [
  ['save <tag> <path> [vdi...]', 'dog cluster snapshot save monday /backup'],
  ['list <path>', 'dog cluster snapshot list /backup'],
  ['load <tag> <path> [vdi...]', 'dog cluster snapshot load monday /backup'],
  ['show <tag> <path>', 'dog cluster snapshot show monday /backup'],
] as const;

/** The original's backup of a whole cluster into a directory: named here so that scripts are told what to do. */
export function clusterSnapshotCommands(parent: Command, runner: Runner): void {
  const snapshot = parent
    .command('snapshot')
    .summary('back up all volumes (not available yet)')
    .description('Copies all snapshots of a cluster to a directory. Not available yet.');
  for (const [usage, example] of forms) {
    addLeaf(snapshot, runner, {
      usage,
      summary: 'not available yet',
      examples: [example],
      run: async () => {
        throw new Exit(exitCodes.failure, 'Snapshots of a whole cluster are not available yet', {
          hint: "Save volumes one by one, with 'dog vdi read -s TAG NAME' and 'dog vdi backup'.",
        });
      },
    });
  }
}
