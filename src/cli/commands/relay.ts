import type { Command } from 'commander';
import { AppError } from '../../base/errors.js';
import { createLogger } from '../../base/log.js';
import { Relay } from '../../relay/relay.js';
import type { SheepAddress } from '../../relay/upstreams.js';
import type { Context } from '../context.js';
import { Exit, exitCodes } from '../exit.js';
import { addLeaf, type Runner } from '../leaf.js';

/** A small process between an old QEMU and sheep that may die: it keeps QEMU's connections. */
interface Options {
  listen?: string;
  listenSocket?: string;
  to?: string;
  toSocket?: string;
  log?: string;
}

const details = `QEMU's own sheepdog driver (2.9 to 6.0) cannot stand the loss of a connection under load: it connects
again, and then goes on with a request that has ended, which corrupts the emulator's memory. A planned upgrade of a
sheep hands its connections over, but a sheep that is killed, or restarted by hand, drops them.

The relay runs on the host of the emulator and has nothing that could fail with a sheep: it keeps every connection of
QEMU, remembers what is not answered, and asks the same sheep, or the next one of the list, again. QEMU sees a pause.
QEMU's NBD driver reconnects properly and needs none.

NEW_VDI, DEL_VDI and other changes of names that were under way when a sheep died are not repeated: their connection is
closed, as it would be without a relay. Whoever reaches the relay reaches the cluster: listen on a loopback address or
a unix socket. Stops on SIGTERM and SIGINT; then its clients lose their connections, so keep it running as long as
the emulator.

With the relay of the first example, the disk of a domain is
  <disk type='network' device='disk'>
    <driver name='qemu' type='raw' cache='writeback'/>
    <source protocol='sheepdog' name='disk0'>
      <host name='127.0.0.1' port='7070'/>
    </source>
    <target dev='vda' bus='virtio'/>
  </disk>`;

export function relayCommands(program: Command, runner: Runner): void {
  addLeaf<Options>(program, runner, {
    usage: 'relay',
    summary: "keep an old QEMU's connections while sheep die and come back",
    details,
    examples: [
      'dog relay --listen 127.0.0.1:7070 --to 127.0.0.1:7000,10.0.0.2:7000',
      'qemu-system-x86_64 -m 1024 -drive file=sheepdog://127.0.0.1:7070/disk0,format=raw,if=virtio   # QEMU 5.2',
      'dog relay --listen-socket /run/sheepfold/relay.sock --to-socket /var/lib/sheepfold/sheep0/sock',
      "qemu-img info 'sheepdog+unix:///disk0?socket=/run/sheepfold/relay.sock'",
    ],
    options: [
      ['--listen <host:port>', 'where clients connect; a port alone means 127.0.0.1'],
      ['--listen-socket <path>', 'a unix socket where clients connect, beside --listen or instead of it'],
      ['--to <host:port,...>', 'the sheep to turn to, the preferred one first'],
      ['--to-socket <path>', "a sheep's unix socket, instead of --to"],
      ['--log <file>', 'append the log to a file (default: standard error)'],
    ],
    run: relay,
  });
}

async function relay(_context: Context, _operands: string[], options: Options): Promise<void> {
  const listen: SheepAddress[] = [];
  if (options.listen !== undefined) listen.push(address(options.listen));
  if (options.listenSocket !== undefined) listen.push({ path: options.listenSocket });
  if (listen.length === 0)
    throw new Exit(exitCodes.usage, 'Where to listen? --listen or --listen-socket is needed');
  const sheep = sheepOf(options);
  const debugAreas = (process.env.SHEEPFOLD_DEBUG ?? '').split(',').filter((area) => area !== '');
  const log = createLogger({ debugAreas, ...(options.log !== undefined && { file: options.log }) }).child(
    'relay',
  );
  const running = await Relay.start({ listen, sheep, log }).catch((error: unknown) => {
    throw new Exit(exitCodes.system, AppError.from(error).message, { cause: error });
  });
  const signal = await stopSignal();
  log.info({ signal, clients: running.connectionCount }, 'stopping');
  running.close();
}

function sheepOf({ to, toSocket }: Options): SheepAddress[] {
  if ((to === undefined) === (toSocket === undefined)) {
    throw new Exit(exitCodes.usage, 'Which sheep? One of --to and --to-socket is needed');
  }
  return toSocket !== undefined ? [{ path: toSocket }] : to!.split(',').map(address);
}

/** HOST:PORT, [IPV6]:PORT, or a port of this host. */
function address(text: string): SheepAddress {
  const match = /^(?:(?:\[([^\]]+)\]|([^:[\]]+)):)?(\d{1,5})$/.exec(text);
  const port = Number(match?.[3] ?? '65536');
  if (match === null || port > 65535)
    throw new Exit(exitCodes.usage, `Invalid address '${text}': HOST:PORT is wanted`);
  return { host: match[1] ?? match[2] ?? '127.0.0.1', port };
}

function stopSignal(): Promise<string> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve(signal));
  });
}
