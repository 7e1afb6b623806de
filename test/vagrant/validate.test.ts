// run: quick
/** What can be said of the Vagrantfile without a box. */
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { requires } from '../helpers/requires.js';
import { machineRows } from './farm.js';

const VAGRANT_DEADLINE_MS = 100_000;

/** With the libvirt provider, if its plugin is there: its options are checked then, too. */
const withVagrant = requires(test, 'vagrant');

/** Runs `vagrant validate` on a copy of the folder, changed before; nothing is written elsewhere. */
function validate(change: (vagrantfile: string) => string): { code: number | null; output: string } {
  const folder = mkdtempSync(join(tmpdir(), 'sheepfold-vagrant-'));
  try {
    cpSync('vagrant', folder, { recursive: true });
    const file = join(folder, 'Vagrantfile');
    writeFileSync(file, change(readFileSync(file, 'utf8')));
    const env = { ...process.env, VAGRANT_HOME: join(folder, 'home'), VAGRANT_CHECKPOINT_DISABLE: '1' };
    const plugins = execFileSync('vagrant', ['plugin', 'list'], { cwd: folder, env, encoding: 'utf8' });
    const words = plugins.includes('vagrant-libvirt') ? ['validate'] : ['validate', '--ignore-provider'];
    const options = { cwd: folder, env, encoding: 'utf8', timeout: VAGRANT_DEADLINE_MS } as const;
    const { status, stdout, stderr } = spawnSync('vagrant', words, options);
    return { code: status, output: `${stdout}${stderr}` };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

withVagrant('the Vagrantfile is valid, and one with an unknown setting is not', () => {
  const { code, output } = validate((text) => text);
  assert.is(code, 0, output);
  assert.match(output, /validated successfully/);
  const bad = validate((text) => text.replace('node.vm.hostname =', 'node.vm.hotsname ='));
  assert.is.not(bad.code, 0);
  assert.match(bad.output, /hotsname/);
});

test('the scripts are shell, and every one that the Vagrantfile runs is there', () => {
  const vagrantfile = readFileSync('vagrant/Vagrantfile', 'utf8');
  const run = [...vagrantfile.matchAll(/"\/opt\/sheepfold\/(vagrant\/[\w-]+\.sh)"/g)].map(
    ([, path]) => path!,
  );
  assert.equal(run, ['vagrant/packages.sh', 'vagrant/bring-up.sh']);
  const scripts = ['common', 'etcd', 'sheep', 'hypervisor', 'namespaces'].map((name) => `vagrant/${name}.sh`);
  for (const script of [...run, ...scripts]) execFileSync('bash', ['-n', script]);
});

test('three sheep begin, two gateways follow, and no address is used twice', () => {
  const rows = machineRows();
  assert.equal(
    rows.map(({ role }) => role),
    ['sheep', 'sheep', 'sheep', 'gateway', 'gateway'],
  );
  const addresses = rows.flatMap(({ address, ioAddress }) => [address, ioAddress]);
  assert.is(new Set(addresses).size, 2 * rows.length);
});

test.run();
