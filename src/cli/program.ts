import { Command, CommanderError } from 'commander';
import { clusterCommands } from './commands/cluster.js';
import { clusterCoordinatorCommands } from './commands/cluster-coordinator.js';
import { clusterJoinCommands } from './commands/cluster-join.js';
import { localClusterCommands } from './commands/cluster-local.js';
import { clusterManageCommands } from './commands/cluster-manage.js';
import { clusterRecoverCommands } from './commands/cluster-recover.js';
import { clusterScrubCommands } from './commands/cluster-scrub.js';
import { clusterSnapshotCommands } from './commands/cluster-snapshot.js';
import { completionCommands } from './commands/completion.js';
import { doctorCommands } from './commands/doctor.js';
import { imageCommands } from './commands/image.js';
import { nodeCommands } from './commands/node.js';
import { acceptLossCommands, nodeLostCommands } from './commands/node-lost.js';
import { nodeManageCommands } from './commands/node-manage.js';
import { nodeMdCommands } from './commands/node-md.js';
import { nodeMemberCommands } from './commands/node-members.js';
import { nodeRecoveryCommands } from './commands/node-recovery.js';
import { clusterUpgradeCommands, nodeUpgradeCommands } from './commands/node-upgrade.js';
import { relayCommands } from './commands/relay.js';
import { toolsCommands } from './commands/tools.js';
import { vdiAlterCommands } from './commands/vdi-alter.js';
import { vdiAttributeCommands } from './commands/vdi-attributes.js';
import { vdiBackupCommands } from './commands/vdi-backup.js';
import { vdiChangeCommands } from './commands/vdi-change.js';
import { vdiCheckCommands } from './commands/vdi-check.js';
import { vdiDataCommands } from './commands/vdi-data.js';
import { vdiGraphCommands } from './commands/vdi-graph.js';
import { vdiListCommands } from './commands/vdi-list.js';
import { vdiLockCommands } from './commands/vdi-lock.js';
import { vdiObjectCommands } from './commands/vdi-object.js';
import { vdiTrackCommands } from './commands/vdi-track.js';
import { vmCommands } from './commands/vm.js';
import { Context, type GlobalOptions, type Io } from './context.js';
import { exitCodes, exitOf } from './exit.js';
import type { Run, Runner } from './leaf.js';
import { isBrokenPipe } from './output.js';

/** The whole of `dog`: the tree of commands, and how a command ends. Nothing here touches the process. */

export const version = '0.1.0';

const afterHelp = `
First steps:
  dog cluster up                 start a cluster on this machine
  dog vdi create first 4G        create a volume
  qemu-img info nbd://127.0.0.1:10809/first
  dog doctor                     what is wrong, what is at risk, what to do next
  dog COMMAND SUBCOMMAND --help  what a command does, with examples

Environment: SHEEPDOG_DOG_ADDR and SHEEPDOG_DOG_PORT replace the defaults of -a and -p; SHEEPFOLD_HOME that of --dir.
SHEEPFOLD_DOG_COMPAT=libvirt makes 'vdi list -r' list what old libvirt can read.
Exit codes: 0 done, 1 failed, 2 cluster not reachable or system failure, 3 exists, 4 full, 5 missing, 64 wrong usage.`;

/** Builds the tree of commands; `runner` is called for each leaf. */
export function buildProgram(runner: Runner): Command {
  const program = new Command('dog')
    .description('Administers a Sheepfold cluster: replicated volumes for virtual machines.')
    .version(version, '--version', 'print the version')
    .option('-a, --address <host>', 'the sheep to talk to (default: 127.0.0.1)')
    .option('-p, --port <port>', 'its port (default: 7000)')
    .option('-r, --raw', 'raw output: no headings, single spaces, bytes, seconds')
    .option('-v, --verbose', 'print more')
    .option('-T, --time', 'print the elapsed time at the end')
    .option('--json', 'print JSON, with exact numbers')
    .helpOption('-h, --help', 'what this command does, with examples')
    .configureHelp({ showGlobalOptions: true })
    .addHelpText('after', afterHelp);
  program.helpCommand('help [command]', 'what a command does');

  const cluster = program
    .command('cluster')
    .summary('start, stop and format a cluster')
    .description('Commands for the whole cluster.');
  localClusterCommands(cluster, runner);
  clusterCommands(cluster, runner);
  clusterManageCommands(cluster, runner);
  clusterRecoverCommands(cluster, runner);
  acceptLossCommands(cluster, runner);
  clusterScrubCommands(cluster, runner);
  clusterUpgradeCommands(cluster, runner);
  clusterCoordinatorCommands(cluster, runner);
  clusterJoinCommands(cluster, runner);
  clusterSnapshotCommands(cluster, runner);
  const node = program.command('node').summary('look at the sheep').description('Commands for the sheep.');
  nodeCommands(node, runner);
  nodeRecoveryCommands(node, runner);
  nodeMdCommands(node, runner);
  nodeManageCommands(node, runner);
  nodeMemberCommands(node, runner);
  nodeLostCommands(node, runner);
  nodeUpgradeCommands(node, runner);
  const vdi = program
    .command('vdi')
    .summary('volumes, snapshots, their data')
    .description('Commands for volumes (VDIs) and their snapshots.');
  vdiListCommands(vdi, runner);
  vdiChangeCommands(vdi, runner);
  vdiDataCommands(vdi, runner);
  vdiAttributeCommands(vdi, runner);
  vdiObjectCommands(vdi, runner);
  vdiTrackCommands(vdi, runner);
  vdiGraphCommands(vdi, runner);
  vdiCheckCommands(vdi, runner);
  vdiBackupCommands(vdi, runner);
  vdiLockCommands(vdi, runner);
  vdiAlterCommands(vdi, runner);
  const image = program
    .command('image')
    .summary('installation CDs and other files kept as volumes')
    .description('Commands for images: files kept as volumes that nobody can change.');
  imageCommands(image, runner);
  vmCommands(program, runner);
  doctorCommands(program, runner);
  toolsCommands(program, runner);
  relayCommands(program, runner);
  completionCommands(program, runner);
  return program;
}

/** Runs one command line (without the program's name) and returns its exit code. Never throws. */
export async function runDog(argv: readonly string[], io: Io): Promise<number> {
  const state: { run?: (() => Promise<void>) | undefined; timed: boolean; context?: Context } = {
    timed: false,
  };
  const program = buildProgram(<O>(command: Command, run: Run<O>) => {
    command.action(() => {
      const globals = command.optsWithGlobals() as GlobalOptions;
      state.timed = globals.time ?? false;
      state.run = async () => {
        state.context = new Context(io, globals);
        await run(state.context, command.args, command.opts() as O);
      };
    });
  });
  captureOutput(program, io);
  const startMs = performance.now();
  try {
    // `dog` alone explains itself, as the original does; it is not an error.
    await program.parseAsync(argv.length === 0 ? ['--help'] : [...argv], { from: 'user' });
    await state.run?.();
    if (state.timed)
      io.stdout.write(`\nElapsed time: ${((performance.now() - startMs) / 1000).toFixed(3)} seconds\n`);
    return exitCodes.ok;
  } catch (error) {
    return fail(error, io);
  } finally {
    state.context?.close();
  }
}

function fail(error: unknown, io: Io): number {
  if (error instanceof CommanderError) return failUsage(error, io);
  if (isBrokenPipe(error)) return exitCodes.brokenPipe;
  const exit = exitOf(error);
  if (exit.message !== '') io.stderr.write(`${exit.message}\n`);
  if (exit.hint !== undefined && (io.stderrIsTerminal || !exit.quietHint)) io.stderr.write(`${exit.hint}\n`);
  return exit.exit;
}

function failUsage(error: CommanderError, io: Io): number {
  if (error.exitCode === 0) return exitCodes.ok;
  // A group without a subcommand has printed its help already.
  if (error.code !== 'commander.help') io.stderr.write(`${usageText(error)}\n`);
  return exitCodes.usage;
}

/** commander's complaints in the words of getopt, which the original used. */
function usageText(error: CommanderError): string {
  const message = error.message.replace(/^error: /, '');
  const quoted = /'([^']*)'/.exec(message)?.[1] ?? '';
  const suggestion = /\(Did you mean .*\)/.exec(message)?.[0];
  const more = suggestion === undefined ? '' : `\n${suggestion}`;
  switch (error.code) {
    case 'commander.unknownOption':
      return `dog: ${optionText(quoted)}${more}\nTry 'dog --help' for more information.`;
    case 'commander.optionMissingArgument': {
      const name = /^-(\w)/.exec(quoted)?.[1] ?? quoted;
      return `dog: option requires an argument -- '${name}'\nTry 'dog --help' for more information.`;
    }
    case 'commander.unknownCommand':
      return `Invalid command '${quoted}'${more}\nTry 'dog --help' for the commands there are.`;
    case 'commander.missingArgument':
      return `dog: ${message}\nTry the command with --help for examples.`;
    default:
      return `dog: ${message}\nTry 'dog --help' for more information.`;
  }
}

function optionText(option: string): string {
  return option.startsWith('--')
    ? `unrecognized option '${option}'`
    : `invalid option -- '${option.slice(1)}'`;
}

/** commander must neither end the process nor print by itself. */
function captureOutput(command: Command, io: Io): void {
  command.exitOverride();
  command.configureOutput({
    writeOut: (text) => void io.stdout.write(text),
    writeErr: (text) => void io.stderr.write(text),
    outputError: () => {},
  });
  for (const child of command.commands) captureOutput(child, io);
}
