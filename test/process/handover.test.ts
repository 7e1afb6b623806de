// deadline: 240 s
/** A planned upgrade hands the listening sockets over (D-13): nobody is refused, and a bad program does no harm. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type NetConnectOpts, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { CONTROL_OPCODE } from '../../src/control/api.js';
import { encodePayloadHead } from '../../src/control/frame.js';
import { encodeRequestHeader, HEADER_BYTES } from '../../src/control/sheepdog-header.js';
import { Flag } from '../../src/wire/sheepdog.js';
import { readBytes } from '../helpers/control-pair.js';
import { Launcher, sheepMain } from '../helpers/launcher.js';
import { NbdClient } from '../helpers/nbd-client.js';

const HAMMER_MS = 5;
const ANSWER_DEADLINE_MS = 10_000;

/** A program in place of the daemon, which the test can replace as an upgrade of the package would. */
class Program {
  private readonly folder = mkdtempSync(join(tmpdir(), 'sheepfold-program-'));
  readonly path = join(this.folder, 'sheep.mjs');

  constructor() {
    this.write('');
  }

  write(first: string): void {
    writeFileSync(this.path, `${first}\nawait import(${JSON.stringify(sheepMain)});\n`);
  }

  remove(): void {
    rmSync(this.folder, { recursive: true });
  }
}

async function withSheep(
  body: (launcher: Launcher, program: Program) => Promise<void>,
  sheep = 1,
): Promise<void> {
  const program = new Program();
  const launcher = await Launcher.start({ sheep, main: program.path });
  let failed = true;
  try {
    await body(launcher, program);
    failed = false;
  } finally {
    await launcher.stop({ failed });
    program.remove();
  }
}

function doorsOf(launcher: Launcher, index: number): NetConnectOpts[] {
  const directory = join(launcher.directory, `sheep${index}`);
  const tcp = [launcher.portOf(index), launcher.nbdPortOf(index), launcher.httpPortOf(index)];
  const unix = ['sock', 'nbd.sock'].map((name) => ({ path: join(directory, name) }));
  return [...tcp.map((port) => ({ host: '127.0.0.1', port })), ...unix];
}

/** Connects again and again; counts, and tells the first failure. */
function hammer(door: NetConnectOpts): { stop(): { connected: number; failure: string | undefined } } {
  let connected = 0;
  let failure: string | undefined;
  const timer = setInterval(() => {
    const socket = connect(door);
    socket.once('connect', () => {
      connected++;
      socket.destroy();
    });
    socket.once('error', (error) => {
      failure ??= error.message;
    });
  }, HAMMER_MS);
  return {
    stop() {
      clearInterval(timer);
      return { connected, failure };
    },
  };
}

/** The first bytes that a connection made now is given. */
function greeting(door: NetConnectOpts, say = ''): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(door, () => socket.write(say));
    const timer = setTimeout(() => socket.destroy(new Error('no answer')), ANSWER_DEADLINE_MS);
    socket.once('error', reject);
    socket.once('data', (data) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(data.toString('latin1'));
    });
  });
}

/** A request whose sender stops after the first bytes. */
class HalfSent {
  private static readonly request = Buffer.concat([
    encodeRequestHeader({
      version: 2,
      opcode: CONTROL_OPCODE,
      flags: Flag.WRITE,
      epoch: 0,
      id: 7,
      dataLength: encodePayloadHead({ method: 'cluster.info', params: {} }).length,
    }),
    encodePayloadHead({ method: 'cluster.info', params: {} }),
  ]);

  private constructor(private readonly socket: Socket) {}

  static connect(port: number): Promise<HalfSent> {
    return new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1', () => resolve(new HalfSent(socket)));
      socket.once('error', reject);
    });
  }

  /** A header and a piece of the payload. */
  static async start(port: number): Promise<HalfSent> {
    const made = await HalfSent.connect(port);
    made.sendHalf();
    await new Promise((resolve) => setTimeout(resolve, 50));
    return made;
  }

  sendHalf(): void {
    this.socket.write(HalfSent.request.subarray(0, 60));
  }

  /** Sends the rest; the opcode of the answer. */
  async finish(): Promise<number> {
    this.socket.write(HalfSent.request.subarray(60));
    const answer = await readBytes(this.socket, HEADER_BYTES, ANSWER_DEADLINE_MS);
    this.socket.destroy();
    return answer[1]!;
  }
}

/** A dead process that nobody has asked after has no command line any more. */
function isAlive(pid: number | undefined): boolean {
  const path = `/proc/${pid}/cmdline`;
  return existsSync(path) && readFileSync(path, 'utf8') !== '';
}

async function openVolume(launcher: Launcher): Promise<NbdClient> {
  const made = await launcher.dog('vdi', 'create', 'disk', '4M');
  assert.is(made.exit, 0, made.stderr);
  return NbdClient.open({ host: '127.0.0.1', port: launcher.nbdPortOf(0) }, 'disk');
}

async function upgraded(launcher: Launcher): Promise<void> {
  const before = launcher.pid(0);
  const { exit, stdout, stderr } = await launcher.dog('node', 'upgrade');
  assert.is(exit, 0, stderr);
  assert.match(stdout, `process ${launcher.pid(0)} in place of ${before}`);
  assert.is.not(launcher.pid(0), before);
  assert.not(isAlive(before));
}

test('no door ever refuses anybody during two upgrades', () =>
  withSheep(async (launcher) => {
    const doors = doorsOf(launcher, 0);
    const hammers = doors.map(hammer);
    try {
      for (let round = 0; round < 2; round++) await upgraded(launcher);
    } finally {
      for (const one of hammers) one.stop();
    }
    for (const [index, { stop }] of hammers.entries()) {
      const { connected, failure } = stop();
      assert.is(failure, undefined, JSON.stringify(doors[index]));
      assert.ok(connected > 20, `${connected} connections`);
    }
    for (const door of [doors[1], doors[4]]) assert.match(await greeting(door!), /^NBDMAGIC/);
    assert.match(await greeting(doors[2]!, 'GET /live HTTP/1.0\r\n\r\n'), '200 OK');
  }));

test('a program that cannot be loaded changes nothing', () =>
  withSheep(async (launcher, program) => {
    const client = await openVolume(launcher);
    await client.write(0, Buffer.alloc(4096, 1));
    const before = launcher.pid(0);
    program.write('this is not a program');
    const { exit, stderr } = await launcher.dog('node', 'upgrade');
    assert.is(exit, 2);
    assert.match(stderr, /Failed to upgrade .*the new process ended \(exit code 1\): SyntaxError/);
    assert.is(launcher.pid(0), before);
    // The very connection goes on.
    assert.equal(await client.read(0, 4096), Buffer.alloc(4096, 1));
    client.close();
  }));

test('when the new process dies after the switch began, the old one takes everything back', () =>
  withSheep(async (launcher, program) => {
    const client = await openVolume(launcher);
    await client.write(0, Buffer.alloc(4096, 1));
    const before = launcher.pid(0);
    program.write("process.on('message', () => process.exit(9));");
    const failed = await launcher.dog('node', 'upgrade');
    assert.is(failed.exit, 2);
    assert.match(failed.stderr, 'the new process ended (exit code 9)');
    assert.is(launcher.pid(0), before);
    for (const door of doorsOf(launcher, 0).slice(3)) assert.ok(existsSync((door as { path: string }).path));
    const again = await NbdClient.open(doorsOf(launcher, 0)[4]!, 'disk');
    assert.equal(await again.read(0, 4096), Buffer.alloc(4096, 1));
    again.close();
    client.close();
    program.write('');
    const repaired = await launcher.dog('node', 'upgrade');
    assert.is(repaired.exit, 0, repaired.stderr);
    assert.is.not(launcher.pid(0), before);
  }));

test('a connection of the sheepdog port lives through an upgrade, in the middle of a request', () =>
  withSheep(async (launcher, program) => {
    const client = await launcher.control();
    const before = (await client.call('node.list', {})).result[0]!.pid;
    const half = await HalfSent.start(launcher.portOf(0));
    const silent = await HalfSent.connect(launcher.portOf(0));
    await upgraded(launcher);
    const after = (await client.call('node.list', {})).result[0]!.pid;
    assert.is.not(after, before);
    assert.is(after, launcher.pid(0));
    assert.is(await half.finish(), CONTROL_OPCODE);
    silent.sendHalf();
    assert.is(await silent.finish(), CONTROL_OPCODE);
    // The old process takes its connections back, too.
    program.write("process.on('message', () => process.exit(9));");
    assert.is((await launcher.dog('node', 'upgrade')).exit, 2);
    assert.is((await client.call('node.list', {})).result[0]!.pid, after);
    client.close();
  }));

test('all sheep are upgraded one after the other, and dog still knows their processes', () =>
  withSheep(async (launcher) => {
    const before = [0, 1, 2].map((index) => launcher.pid(index));
    const { exit, stdout, stderr } = await launcher.dog('cluster', 'upgrade');
    assert.is(exit, 0, stderr);
    assert.is(stdout.trim().split('\n').length, 3);
    const after = [0, 1, 2].map((index) => launcher.pid(index));
    for (const [index, pid] of after.entries()) {
      assert.ok(isAlive(pid) && !isAlive(before[index]));
    }
    const down = await launcher.dog('cluster', 'down');
    assert.match(down.stdout, /^Stopped 3 sheep\. /);
    for (const [index, pid] of after.entries()) {
      assert.not(isAlive(pid));
      for (const name of ['pid', 'sock', 'nbd.sock']) {
        assert.not(existsSync(join(launcher.directory, `sheep${index}`, name)), name);
      }
    }
    const up = await launcher.up();
    assert.is(up.exit, 0, up.stderr);
  }, 3));

test('a second upgrade waits for nobody: it is refused while the first is under way', () =>
  withSheep(async (launcher) => {
    const results = await Promise.all([launcher.dog('node', 'upgrade'), launcher.dog('node', 'upgrade')]);
    const exits = results.map((result) => result.exit);
    assert.ok(exits.includes(0), results.map((result) => result.stderr).join());
    assert.is(launcher.log(0).split('handed over').length - 1, exits.filter((exit) => exit === 0).length);
    assert.is(readFileSync(join(launcher.directory, 'sheep0', 'pid'), 'utf8').trim(), `${launcher.pid(0)}`);
    assert.ok(isAlive(launcher.pid(0)));
  }));

test.run();
