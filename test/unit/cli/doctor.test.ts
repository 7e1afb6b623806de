/** `dog doctor` against sheep that are made up: what it prints, its exit codes, and whom it asks. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../src/base/errors.js';
import { wrap } from '../../../src/cli/wrap.js';
import type { DoctorReport, DoctorSituation } from '../../../src/control/doctor-api.js';
import { ControlListener } from '../../helpers/control-pair.js';
import { dog } from '../../helpers/run-dog.js';

const report: DoctorReport = {
  wallMs: Date.now(),
  version: '0.1.0',
  leaseTtlMs: 5000,
  reserveBytes: 0,
  recoveryReserveBytes: 0,
  incomplete: false,
  checksumErrors: 0,
};

/** A cluster of one sheep and a second that nobody can reach. */
function situationAt(port: number, alter: (situation: DoctorSituation) => void): DoctorSituation {
  const row = { nbdPort: 0, httpPort: 0, vnodes: 128, in: true, syncing: false, syncingObjects: 0, pid: 1 };
  const space = { storeBytes: 2 ** 40, usedBytes: 2 ** 30, freeBytes: 2 ** 39 };
  const situation: DoctorSituation = {
    host: '127.0.0.1',
    port,
    wallMs: Date.now(),
    cluster: {
      status: 'running',
      clusterId: 'x',
      createdMs: 0,
      copies: 1,
      minCopies: 1,
      blockSizeShift: 22,
      epoch: 3,
      waiting: [],
      nodes: [{ ...row, ...space, index: 0, id: 'a', host: '127.0.0.1', port, zone: 1, up: true }],
      coordinator: { driver: 'etcd', address: 'etcd://x' },
    },
    members: [{ id: 'a', hostId: 'm' }],
    downOutMs: 600_000,
    recoveryPaused: false,
    sets: [],
    volumes: [],
    unreached: [],
    unfinished: [],
  };
  alter(situation);
  return situation;
}

async function withSheep(
  alter: (situation: DoctorSituation) => void,
  body: (port: number, calls: string[]) => Promise<void>,
): Promise<void> {
  const calls: string[] = [];
  const listener = await ControlListener.start(async (method) => {
    calls.push(method);
    if (method === 'cluster.doctor') return { result: situationAt(listener.port, alter) };
    if (method === 'node.doctor') return { result: { ...report, wallMs: Date.now() } };
    throw new AppError('not-supported', `control method ${method} is not known here`);
  });
  try {
    await body(listener.port, calls);
  } finally {
    await listener.stop();
  }
}

const env = { SHEEPFOLD_HOME: join(tmpdir(), 'sheepfold-there-is-none') };

test('all is well: one line, exit code 0', () =>
  withSheep(
    () => {},
    async (port, calls) => {
      const { exit, stdout, stderr } = await dog(['doctor', '-p', String(port)], { env });
      assert.is(stdout, 'All is well: 1 of 1 sheep up, everything in sync.\n');
      assert.is(stderr, '');
      assert.is(exit, 0);
      assert.equal(calls, ['cluster.doctor', 'node.doctor']);
    },
  ));

test('notes alone are no failure', () =>
  withSheep(
    (s) => {
      s.unfinished = ['disk'];
    },
    async (port) => {
      const { exit, stdout } = await dog(['doctor', '-p', String(port)], { env });
      assert.match(stdout, /^All is well.*\n\nnote {4}Of disk something/);
      assert.is(exit, 0);
    },
  ));

test('a risk: exit code 1, the step under the finding, no line longer than a terminal', () =>
  withSheep(
    (s) => {
      s.volumes = [{ copies: 1, count: 1, names: ['disk'] }];
    },
    async (port) => {
      const { exit, stdout } = await dog(['doctor', '-p', String(port)], { env });
      assert.match(
        stdout,
        /\n\nrisk {4}disk is kept once.*\n {8}Next: dog vdi alter-copy -c 2 disk\n {14}A second/,
      );
      assert.ok(stdout.split('\n').every((line) => line.length <= 100));
      assert.is(exit, 1);
    },
  ));

test('for programs: JSON with all findings, raw lines with one each', () =>
  withSheep(
    (s) => {
      s.recoveryPaused = true;
    },
    async (port) => {
      const json = await dog(['doctor', '--json', '-p', String(port)], { env });
      const { findings } = JSON.parse(json.stdout) as { findings: { rule: string; severity: string }[] };
      assert.equal(
        findings.map(({ rule, severity }) => `${severity} ${rule}`),
        ['note recovery-paused'],
      );
      const raw = await dog(['doctor', '-r', '-p', String(port)], { env });
      assert.match(raw.stdout, /^note recovery-paused Recovery is paused.*\n$/);
    },
  ));

test('a member that is said to be up and does not answer is named', () =>
  withSheep(
    (s) => {
      s.cluster.nodes.push({ ...s.cluster.nodes[0]!, id: 'b', port: 1, index: 1 });
      s.members.push({ id: 'b', hostId: 'n' });
    },
    async (port) => {
      const { exit, stdout } = await dog(['doctor', '-p', String(port)], { env });
      assert.match(stdout, /risk {4}127\.0\.0\.1:1 is a member and counts as up, but did not answer/);
      assert.is(exit, 1);
    },
  ));

test('nobody answers: says so and how to go on, exit code 2', async () => {
  const { exit, stdout } = await dog(['doctor', '-p', '1'], { env });
  assert.match(
    stdout,
    /^bad {5}No sheep answers at 127\.0\.0\.1:1\.\n {8}Next: dog doctor -a HOST -p PORT\n/,
  );
  assert.is(exit, 2);
});

test('when the sheep of -p is down, others of the cluster on this machine are asked', () =>
  withSheep(
    () => {},
    async (port) => {
      const directory = mkdtempSync(join(tmpdir(), 'sheepfold-doctor-'));
      const fields = {
        nbdPort: 0,
        httpPort: 0,
        copies: 3,
        madeDirectory: true,
        directories: ['coordinator'],
      };
      const config = { kind: 'sheepfold-cluster', version: 1, sheep: 3, port: port - 2, ...fields };
      writeFileSync(join(directory, 'cluster.json'), JSON.stringify(config));
      try {
        const { exit, stdout } = await dog(['doctor', '-p', '1', '--dir', directory], { env });
        assert.match(stdout, /^All is well/);
        assert.is(exit, 0);
      } finally {
        rmSync(directory, { recursive: true });
      }
    },
  ));

test('a sheep of an earlier version is told from a broken one', async () => {
  const listener = await ControlListener.start(async (method) => {
    throw new AppError('not-supported', `control method ${method} is not known here`);
  });
  try {
    const { exit, stderr } = await dog(['doctor', '-p', String(listener.port)], { env });
    assert.match(stderr, /earlier version/);
    assert.is(exit, 1);
  } finally {
    await listener.stop();
  }
});

test('text is broken at blanks, and what is too long stays whole', () => {
  assert.is(wrap('one two three', 9, '- ', '  '), '- one two\n  three');
  assert.is(wrap('incomprehensibilities are', 5, '', ' '), 'incomprehensibilities\n are');
});

test.run();
