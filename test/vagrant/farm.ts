/**
 * The machines of vagrant/ as namespaces of this one: each with networks, mounts, processes and a name of its own,
 * brought up by the same scripts. The test talks to them by programs that it runs on them.
 */
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { libvirtFiles, libvirtFolders } from '../helpers/libvirtd.js';
import { HostNetwork } from '../helpers/netns.js';
import { PrivateHost, type RunResult } from '../helpers/private-host.js';

const BRING_UP_DEADLINE_MS = 240_000;
const LOG_TAIL_LINES = 15;
/** The last part of the first machine's addresses in the table; the others count on from there. */
const FIRST_ADDRESS = 11;
const MACHINE_ID = '/etc/machine-id';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const programs = {
  dog: 'dist/src/cli/main.js',
  sheep: 'dist/src/daemon/main.js',
  'sheepfold-pools': 'dist/pool-backend/main.js',
};

/** A row of vagrant/machines. */
export interface MachineRow {
  readonly name: string;
  readonly role: 'sheep' | 'gateway';
  readonly address: string;
  readonly ioAddress: string;
}

export function machineRows(): MachineRow[] {
  const lines = readFileSync(join(root, 'vagrant/machines'), 'utf8').split('\n');
  return lines
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const [name, role, address, ioAddress] = line.split(/ +/) as [string, string, string, string];
      if (role !== 'sheep' && role !== 'gateway') throw new Error(`${name} has no role: ${role}`);
      return { name, role, address, ioAddress };
    });
}

export class Machine {
  private constructor(
    readonly row: MachineRow,
    private readonly host: PrivateHost,
  ) {}

  static async make(row: MachineRow, network: string): Promise<Machine> {
    const id = createHash('md5').update(row.name).digest('hex');
    const host = await PrivateHost.make({
      name: row.name,
      network,
      etc: {
        ...libvirtFiles(),
        hosts: '127.0.0.1 localhost\n',
        ...(existsSync(MACHINE_ID) && { 'machine-id': `${id}\n` }),
      },
      folders: [...libvirtFolders, 'var/lib', 'run/bin'],
    });
    for (const [name, path] of Object.entries(programs)) {
      const script = `#!/bin/sh\nexec ${process.execPath} --enable-source-maps ${join(root, path)} "$@"\n`;
      chmodSync(host.file(`run/bin/${name}`, script), 0o755);
    }
    return new Machine(row, host);
  }

  get name(): string {
    return this.row.name;
  }

  /** As the machine sees it, `/run` is `run` in here, `/var` is `var`. */
  get folder(): string {
    return this.host.folder;
  }

  /** Its first process. */
  get pid(): number {
    return this.host.pid;
  }

  /** Its processes are those of this namespace. */
  get space(): string {
    return this.host.space;
  }

  /** Runs a program on it, as its administrator would. */
  run(words: readonly string[], deadlineMs?: number): Promise<RunResult> {
    return this.host.run([...this.environment, ...words], deadlineMs);
  }

  /** Standard output of a program that must succeed. */
  must(...words: string[]): Promise<string> {
    return this.host.must([...this.environment, ...words]);
  }

  async bringUp(): Promise<void> {
    const words = [...this.environment, 'bash', join(root, 'vagrant/bring-up.sh')];
    await this.host.must(words, BRING_UP_DEADLINE_MS);
  }

  /** `virsh` of its own libvirt. */
  mustVirsh(...words: string[]): Promise<string> {
    return this.must('virsh', '-q', '-c', 'qemu:///system', ...words);
  }

  file(name: string, text: string): string {
    return this.host.file(name, text);
  }

  /** What QEMU itself wrote about a guest. */
  guestLog(guest: string): string {
    return this.host.read(`var/log/libvirt/qemu/${guest}.log`);
  }

  /** The ends of its logs. */
  get logs(): string {
    const files = ['lib/sheepfold/sheep0/sheep.log', 'log/sheepfold-etcd.log', 'log/sheepfold-pools.log'];
    return [...files, 'log/libvirt/libvirtd.log']
      .map((file) => [file, this.host.read(`var/${file}`).trimEnd()] as const)
      .filter(([, text]) => text !== '')
      .map(
        ([file, text]) => `--- ${this.name}: ${file}\n${text.split('\n').slice(-LOG_TAIL_LINES).join('\n')}`,
      )
      .join('\n');
  }

  stop(): Promise<void> {
    return this.host.stop();
  }

  private get environment(): string[] {
    return ['env', `PATH=/run/bin:${process.env.PATH}`, `SHEEPDOG_DOG_ADDR=${this.row.address}`];
  }
}

export class Farm {
  private constructor(
    readonly network: HostNetwork,
    readonly machines: readonly Machine[],
  ) {}

  /** Makes the machines; nothing runs on them yet. */
  static async make(): Promise<Farm> {
    const rows = machineRows();
    const network = new HostNetwork(rows.length, 2, FIRST_ADDRESS);
    const machines: Machine[] = [];
    const farm = new Farm(network, machines);
    try {
      for (const [index, row] of rows.entries()) {
        if (network.address(index) !== row.address || network.address(index, 1) !== row.ioAddress)
          throw new Error(
            `${row.name} should have ${network.address(index)} and ${network.address(index, 1)}`,
          );
        machines.push(await Machine.make(row, network.namespaceOf(index)));
      }
    } catch (error) {
      await farm.remove();
      throw error;
    }
    return farm;
  }

  machine(name: string): Machine {
    const found = this.machines.find((one) => one.name === name);
    if (found === undefined) throw new Error(`no machine is called ${name}`);
    return found;
  }

  /** All at once, as Vagrant does it with the libvirt provider, or one after the other. */
  async bringUp(order: 'at once' | 'in turn'): Promise<void> {
    if (order === 'at once') await Promise.all(this.machines.map((one) => one.bringUp()));
    else for (const one of this.machines) await one.bringUp();
  }

  get logs(): string {
    return this.machines.map((one) => one.logs).join('\n');
  }

  /** Ends everything, and removes it. */
  async remove(): Promise<void> {
    await Promise.all(this.machines.map((one) => one.stop()));
    this.network.remove();
  }
}

/** Runs a body with the machines brought up; their logs are part of a failure, and nothing is left behind. */
export async function withFarm(
  order: 'at once' | 'in turn',
  body: (farm: Farm) => Promise<void>,
): Promise<void> {
  const farm = await Farm.make();
  try {
    await farm.bringUp(order);
    await body(farm);
  } catch (error) {
    process.stderr.write(`${farm.logs}\n`);
    throw error;
  } finally {
    await farm.remove();
  }
}

/** How a machine's sheep sees the cluster, asked by `on`, which runs a command there: nothing bad, nothing at risk. */
export async function isWell(on: (command: string) => Promise<string>): Promise<boolean> {
  return /^All is well: 5 of 5 sheep up/.test(await on('dog doctor').catch(() => ''));
}
