import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../src/base/errors.js';
import { parseSheepArguments } from '../../../src/daemon/config.js';

const needed = ['--dir', 'd', '--coordinator', 'c'];

function refused(...argv: string[]): string {
  try {
    parseSheepArguments(argv);
  } catch (error) {
    assert.ok(AppError.isCode(error, 'usage'), String(error));
    return (error as Error).message;
  }
  throw new Error(`${argv.join(' ')} was accepted`);
}

test('without options a sheep listens on loopback only, at the ports of the original', () => {
  const config = parseSheepArguments(needed);
  assert.equal(
    [config.host, config.port, config.nbdPort, config.leaseTtlMs, config.tlsMode],
    ['127.0.0.1', 7000, 10809, undefined, 'off'],
  );
});

test('a directory and a coordinator are needed', () => {
  assert.match(refused('--dir', 'd'), /coordinator/);
  assert.match(refused('--coordinator', 'c'), /dir/);
});

test('numbers out of range, half numbers and unknown words are refused', () => {
  for (const [option, value] of [
    ['--port', '65536'],
    ['--port', '70x'],
    ['--port', '1.5'],
    ['--nbd-port', '-2'],
    ['--zone', '4294967296'],
    ['--vnodes', '-1'],
    ['--lease-ttl-ms', '10'],
    ['--tls-mode', 'maybe'],
  ] as const) {
    refused(...needed, `${option}=${value}`);
  }
  refused(...needed, 'something-else');
  refused(...needed, '--no-such-option');
});

test('-1 leaves a door out, 0 lets the system choose', () => {
  const config = parseSheepArguments([...needed, '--nbd-port=-1', '--port=0']);
  assert.equal([config.nbdPort, config.port], [-1, 0]);
});

test('the network for traffic between sheep has an address of its own', () => {
  const config = parseSheepArguments([...needed, '--io-host=10.0.0.1', '--io-port=7100']);
  assert.equal([config.ioHost, config.ioPort], ['10.0.0.1', 7100]);
  assert.match(refused(...needed, '--io-port=7100'), /needs '--io-host'/);
});

test.run();
