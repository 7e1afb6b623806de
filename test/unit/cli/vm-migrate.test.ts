/** `dog vm migrate` with hypervisors that a script plays, and a cluster in this process. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Context as DogContext } from '../../../src/cli/context.js';
import { Exit } from '../../../src/cli/exit.js';
import { hostOfUri } from '../../../src/cli/migrate-collect.js';
import { runMigration } from '../../../src/cli/migration.js';
import { Virsh } from '../../../src/vm/virsh.js';
import { FakeVirsh, type FakeVirshOptions } from '../../helpers/fake-virsh.js';
import { DogBench } from '../../helpers/run-dog.js';

interface Context {
  bench: DogBench;
  folder: string;
  path: string | undefined;
}
const test = suite<Context>('vm migrate');
test.before.each(async (context) => {
  context.bench = await DogBench.start();
  context.folder = mkdtempSync(join(tmpdir(), 'sheepfold-vm-'));
  context.path = process.env.PATH;
  process.env.PATH = `${context.folder}:${context.path}`;
});
test.after.each(async (context) => {
  process.env.PATH = context.path;
  await context.bench.stop();
  rmSync(context.folder, { recursive: true, force: true });
});

const MOVE = 'vm migrate web dst --connect src';

function domain(devices = ''): string {
  return `<domain type='kvm'><name>web</name><uuid>u</uuid><memory>65536</memory>
<os><type arch='x86_64' machine='pc-q35-10.0'>hvm</type></os><devices>${devices}</devices></domain>`;
}

const localDisk = domain("<disk type='file' device='disk'><source file='/srv/a'/><target dev='vdb'/></disk>");

const fake = ({ folder }: Context, options: Partial<FakeVirshOptions> = {}) =>
  new FakeVirsh(folder, { domain: domain(), ...options });

test('a guest is moved with its definition, and how long it stood still is told', async (context) => {
  const virsh = fake(context);
  const { exit, stdout, stderr } = await context.bench.run(`${MOVE} --bandwidth 7 --migrate-uri tcp://x`);
  assert.is(exit, 0, stderr);
  assert.is(stdout, 'web runs at dst, and not here any more; it stood still for 42 ms of 1.5 s\n');
  const words =
    'src migrate --live --domain web --desturi dst --persistent --undefinesource --migrateuri tcp://x --bandwidth 7';
  assert.ok(virsh.calls.includes(words), virsh.calls.join('\n'));
});

test('the same for programs', async (context) => {
  fake(context);
  const { stdout } = await context.bench.run(`${MOVE} --json`);
  const figures = { downtimeMs: 42, totalMs: 1500, bytes: 4096 };
  assert.equal(JSON.parse(stdout), {
    ...{ domain: 'web', destination: 'dst', state: 'running', ...figures, findings: [] },
  });
});

test('a look changes nothing', async (context) => {
  const virsh = fake(context);
  const { exit, stdout } = await context.bench.run(`${MOVE} --check`);
  assert.equal([exit, stdout], [0, 'web can move to dst.\n']);
  assert.not.ok(virsh.calls.some((call) => / (migrate|define|create|domjobabort) /.test(call)));
});

test('what is bad ends it before anything is done', async (context) => {
  const virsh = fake(context, { domain: localDisk });
  const { exit, stdout } = await context.bench.run(MOVE);
  assert.is(exit, 1);
  assert.match(
    stdout,
    /^web cannot move to dst: it stays where it is\.\n\nbad +The disk vdb .*\n +Next: dog vm/s,
  );
  const raw = await context.bench.run(`${MOVE} --check --raw`);
  assert.match(raw.stdout, /^bad disk-local The disk vdb of web is the file \/srv\/a,/);
  assert.not.ok(virsh.calls.some((call) => call.startsWith('src migrate')));
});

test('the host in a URI, where there is one', () => {
  assert.is(hostOfUri('qemu+ssh://root@beta:22/system'), 'beta');
  assert.is(hostOfUri('qemu+ssh://[fd00::1]/system'), 'fd00::1');
  assert.is(hostOfUri('qemu+unix:///system?socket=/a//b'), undefined);
  assert.is(hostOfUri('qemu:///system'), undefined);
  assert.is(hostOfUri('test'), undefined);
});

test('a migration that fails tells why, and that the guest runs on', async (context) => {
  fake(context, { migrate: 'echo "error: no room for it" >&2; exit 1' });
  const { exit, stdout, stderr } = await context.bench.run(MOVE, { terminal: true });
  assert.equal([exit, stdout], [1, '']);
  assert.match(
    stderr,
    /^Failed to move web: no room for it\nweb runs on where it was\.\n'dog vm migrate --check'/,
  );
});

test('a guest that libvirt leaves paused is not resumed by us: who looks is told how', async (context) => {
  const virsh = fake(context, {
    migrate: 'touch lost; echo "error: lost" >&2; exit 1',
    cases: '"src domstate"*) echo paused ;;',
  });
  const nowhere = () => new PassThrough().resume();
  const streams = { stdin: nowhere(), stdout: nowhere(), stderr: nowhere() };
  const io = { ...streams, env: {}, stdinIsTerminal: false, stderrIsTerminal: false };
  const run = {
    ...{ source: new Virsh({ uri: 'src' }), destination: new Virsh({ uri: 'dst' }) },
    ...{ order: { domain: 'web', uri: 'dst', persistent: true }, state: 'running' },
    ...{ timeoutMs: undefined, settleMs: 1 },
  };
  const failure = await runMigration(new DogContext(io, {}), run).catch((error: Exit) => error);
  assert.instance(failure, Exit);
  const { message, hint } = failure as Exit;
  assert.is(message, 'Failed to move web: lost\nweb is paused at the source, and absent at the destination.');
  assert.match(hint!, /\(virsh -c dst domstate web\), virsh -c src resume web lets it go on/);
  assert.not.ok(virsh.calls.some((call) => call.startsWith('src resume')));
});

test('what takes too long is aborted', async (context) => {
  const virsh = fake(context, {
    migrate: 'while [ ! -e aborted ]; do sleep 0.1; done; echo "error: aborted" >&2; exit 1',
  });
  const { exit, stderr } = await context.bench.run(`${MOVE} --timeout 1s`);
  assert.is(exit, 1);
  assert.match(stderr, /^Failed to move web: it took longer than --timeout\nweb runs on where it was\./);
  assert.ok(virsh.calls.includes('src domjobabort --domain web'));
});

test('a virsh that loses its way at the very end does not hide that the guest has moved', async (context) => {
  fake(context, { migrate: 'touch moved; echo "error: connection lost" >&2; exit 1' });
  const { exit, stdout, stderr } = await context.bench.run(MOVE);
  assert.equal([exit, stderr], [0, 'virsh says: connection lost\n']);
  assert.match(stdout, /^web runs at dst/);
});

test('a domain that is not there, and a source that does not answer', async (context) => {
  const absent = '*dumpxml*) echo "error: failed to get domain \'web\'" >&2; exit 1 ;;';
  fake(context, { cases: absent });
  const missing = await context.bench.run(MOVE);
  assert.equal([missing.exit, missing.stderr], [5, "Failed to move web: failed to get domain 'web'\n"]);
  fake(context, { cases: '*) echo "error: failed to connect to the hypervisor" >&2; exit 1 ;;' });
  assert.is((await context.bench.run(MOVE)).exit, 2);
});

test('wrong words are refused before anybody is asked', async (context) => {
  const virsh = fake(context);
  for (const words of ['--timeout 5', '--timeout 0', '--bandwidth 0', '--to-sheep a:0', '--to-sheep a:b']) {
    const { exit, stderr } = await context.bench.run(`${MOVE} ${words}`);
    assert.is(exit, 64, stderr);
  }
  assert.equal(virsh.calls, []);
});

test.run();
