/**
 * One host of a simulated room: a network namespace, a machine id, a boot id and a folder of its own. What it shares
 * with the other hosts is the kernel, so only processes and networks can be taken away here; the power cannot
 * (`test/sim` does that).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { HostNetwork } from '../helpers/netns.js';
import { ownedProcess } from '../helpers/real-cluster.js';

const END_DEADLINE_MS = 30_000;
const MACHINE_ID = '/etc/machine-id';
const BOOT_ID = '/proc/sys/kernel/random/boot_id';

/**
 * A host's view of the machine: files of its own over the two ids, in mounts nobody else sees, then its network.
 * Everything replaces itself by exec, so the process that is started is the one that is killed. $0: namespace.
 */
const ENTER = [
  `test -z "$1" || mount --bind "$1" ${MACHINE_ID}`,
  `test -z "$2" || mount --bind "$2" ${BOOT_ID}`,
  'shift 2',
  'exec nsenter --net="/run/netns/$0" "$@"',
].join(' && ');

export class Host {
  readonly folder: string;

  constructor(
    readonly network: HostNetwork,
    readonly index: number,
    readonly zone: number,
    parent: string,
    /** A boot id of its own; not with the local coordinator, which tells by it whether a process can still live. */
    private readonly ownBoot: boolean,
  ) {
    this.folder = join(parent, `host${index}`);
    mkdirSync(this.folder, { recursive: true });
    const id = createHash('md5').update(this.folder).digest('hex');
    writeFileSync(this.machineIdFile, `${id}\n`);
    this.reboot();
  }

  /** On its first network, where everything listens. */
  get address(): string {
    return this.network.address(this.index);
  }

  /** What starts from now on believes that the machine was without power meanwhile. */
  reboot(): void {
    writeFileSync(this.bootIdFile, `${randomUUID()}\n`);
  }

  /** Starts a program on this host; its output goes to `<name>.out` in the host's folder. Ends with this process. */
  spawn(name: string, program: string, words: readonly string[]): HostProcess {
    const ids = [existsSync(MACHINE_ID) ? this.machineIdFile : '', this.ownBoot ? this.bootIdFile : ''];
    const enter = ['sh', '-c', ENTER, this.network.namespaceOf(this.index), ...ids];
    const view = ['--pdeathsig', 'SIGKILL', 'unshare', '--mount', '--propagation', 'private'];
    const output = openSync(join(this.folder, `${name}.out`), 'a');
    const child = spawn('setpriv', [...view, ...enter, program, ...words], {
      stdio: ['ignore', output, output],
    });
    closeSync(output);
    return new HostProcess(
      `${name} on host ${this.index}`,
      ownedProcess(child),
      join(this.folder, `${name}.out`),
    );
  }

  private get machineIdFile(): string {
    return join(this.folder, 'machine-id');
  }

  private get bootIdFile(): string {
    return join(this.folder, 'boot-id');
  }
}

/** A process on a host. */
export class HostProcess {
  private readonly exited: Promise<void>;

  constructor(
    readonly name: string,
    private readonly child: ChildProcess,
    private readonly outputFile: string,
  ) {
    this.exited = new Promise((resolve) => {
      child.once('exit', () => resolve());
      child.once('error', () => resolve());
    });
  }

  get running(): boolean {
    return this.child.pid !== undefined && this.child.exitCode === null && this.child.signalCode === null;
  }

  get pid(): number {
    return this.child.pid ?? -1;
  }

  /** Why it is not running. */
  get ending(): string {
    return `${this.name} ended with ${this.child.signalCode ?? this.child.exitCode}`;
  }

  get output(): string {
    return readFileSync(this.outputFile, 'utf8');
  }

  signal(signal: NodeJS.Signals): void {
    if (this.running) process.kill(this.pid, signal);
  }

  /** Sends a signal that ends it, and waits for the end. */
  async end(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    this.signal(signal);
    // Who is stopped is killed all the same, but ends in good order only when it goes on.
    if (signal !== 'SIGKILL') this.signal('SIGCONT');
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`${this.name} does not end`)), END_DEADLINE_MS);
    });
    await Promise.race([this.exited, late]).finally(() => clearTimeout(timer));
  }
}
