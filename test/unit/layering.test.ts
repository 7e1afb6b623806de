import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

/** Which folder of src may import which. What is not listed may be imported by nobody. */
const below: Readonly<Record<string, readonly string[]>> = {
  base: [],
  wire: ['base'],
  store: ['base', 'wire'],
  net: ['base', 'wire'],
  coord: ['base', 'wire', 'store'],
  cluster: ['base', 'wire', 'store', 'net', 'coord'],
  volume: ['base', 'wire', 'store', 'net', 'coord', 'cluster'],
  nbd: ['base', 'wire', 'volume'],
  sheepdog: ['base', 'wire', 'store', 'coord', 'cluster', 'volume'],
  control: ['base', 'wire', 'store', 'net', 'coord', 'cluster', 'volume', 'sheepdog'],
  daemon: ['base', 'wire', 'store', 'net', 'coord', 'cluster', 'volume', 'nbd', 'sheepdog', 'control'],
  qemu: ['base', 'wire', 'control'],
  relay: ['base', 'wire'],
  // Of nbd only the protocol's numbers and the reader of exact bytes.
  'nbd-client': ['base', 'nbd'],
  fuse: ['base'],
  sheepfs: ['base', 'wire', 'control', 'nbd-client', 'fuse'],
  vm: ['base', 'wire', 'control'],
  cli: ['base', 'wire', 'control', 'qemu', 'relay', 'vm'],
};

/** The same for the folders of src/cluster; what lies beside them joins them, and may import all. */
const inCluster: Readonly<Record<string, readonly string[]>> = {
  epochs: [],
  reach: ['epochs'],
  objects: ['epochs', 'reach'],
  recovery: ['epochs', 'objects'],
  scrub: ['epochs', 'objects'],
};

/** The same for pool-backend; what lies beside the folders joins them. Of src it is a client. */
const inPools: Readonly<Record<string, readonly string[]>> = {
  rpc: [],
  pools: ['rpc'],
  server: ['rpc', 'pools'],
};
const belowPools = ['base', 'wire', 'control'];

const root = process.cwd();

function sources(top = 'src'): string[] {
  return readdirSync(join(root, top), { recursive: true })
    .map(String)
    .filter((name) => name.endsWith('.ts'));
}

function importsOf(name: string, top = 'src'): string[] {
  const text = readFileSync(join(root, top, name), 'utf8');
  const found = text.matchAll(/(?:from|import\()\s*'(\.[^']+)'/g);
  return [...found].map(([, path]) => posix.join(posix.dirname(name), path!));
}

test('every import points down the fixed order of folders', () => {
  const wrong: string[] = [];
  for (const name of sources()) {
    const folder = name.split('/')[0]!;
    for (const target of importsOf(name)) {
      const other = target.split('/')[0]!;
      if (other !== folder && !(below[folder] ?? []).includes(other)) wrong.push(`${name} imports ${target}`);
    }
  }
  assert.equal(wrong, []);
});

test('the folders of src/cluster have an order, too', () => {
  const wrong: string[] = [];
  for (const name of sources().filter((file) => /^cluster\/.*\//.test(file))) {
    const folder = name.split('/')[1]!;
    assert.ok(folder in inCluster, `src/cluster/${folder} has no place in test/unit/layering.test.ts`);
    for (const target of importsOf(name).filter((path) => path.startsWith('cluster/'))) {
      const other = target.split('/')[1]!;
      if (other !== folder && !inCluster[folder]!.includes(other)) wrong.push(`${name} imports ${target}`);
    }
  }
  assert.equal(wrong, []);
});

test('the folders of pool-backend have an order, and use of src what a client may', () => {
  const wrong: string[] = [];
  for (const name of sources('pool-backend')) {
    const folder = name.includes('/') ? name.split('/')[0]! : undefined;
    assert.ok(folder === undefined || folder in inPools, `pool-backend/${folder} has no place here`);
    const mayImport = folder === undefined ? Object.keys(inPools) : [folder, ...inPools[folder]!];
    for (const target of importsOf(name, 'pool-backend')) {
      const [first, second, third] = target.split('/') as [string, string?, string?];
      const isOk =
        first === '..' && second === 'src'
          ? belowPools.includes(third!)
          : mayImport.includes(first) || (folder === undefined && second === undefined);
      if (!isOk) wrong.push(`${name} imports ${target}`);
      const file = join(root, 'pool-backend', target.replace(/\.js$/, '.ts'));
      assert.ok(target.endsWith('.js') && existsSync(file), `${name}: ${target}`);
    }
  }
  assert.equal(wrong, []);
});

test('every folder of src has its place in the order', () => {
  const folders = readdirSync(join(root, 'src'), { withFileTypes: true }).filter((entry) =>
    entry.isDirectory(),
  );
  for (const { name } of folders)
    assert.ok(name in below, `src/${name} has no place in test/unit/layering.test.ts`);
});

test('every import names a file that is there, with its suffix', () => {
  for (const name of sources()) {
    for (const target of importsOf(name)) {
      assert.ok(target.endsWith('.js'), `${name}: ${target}`);
      assert.ok(existsSync(join(root, 'src', target.replace(/\.js$/, '.ts'))), `${name}: ${target}`);
    }
  }
});

test.run();
