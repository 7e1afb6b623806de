import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../src/base/errors.js';
import { isOriginalCommandLine, parseOriginalArguments } from '../../../src/daemon/original-options.js';

const env = { SHEEPFOLD_HOME: '/fold' };

function parse(line: string) {
  return parseOriginalArguments(line.split(' '), env);
}

function refused(line: string): string {
  try {
    parse(line);
  } catch (error) {
    assert.ok(AppError.isCode(error, 'usage'), String(error));
    return (error as Error).message;
  }
  throw new Error(`${line} was accepted`);
}

test('whoever names a directory or a coordinator speaks our own options', () => {
  assert.not(isOriginalCommandLine(['--dir', 'd']));
  assert.not(isOriginalCommandLine(['--port=7000', '--coordinator=c']));
  assert.ok(isOriginalCommandLine([]));
  assert.ok(isOriginalCommandLine(['/store/0', '-z', '0', '--port', '7000']));
});

test('a start line of old scripts becomes a configuration', () => {
  const config = parse('/store/1 -z 1 -p 7001 -c local -j size=64M');
  assert.equal(config, {
    dir: '/store/1',
    coordinator: '/fold/local/coordinator',
    host: '127.0.0.1',
    port: 7001,
    nbdPort: 10810,
    httpPort: 7081,
    unixSocket: '/store/1/sock',
    nbdSocket: '/store/1/nbd.sock',
    zone: 1,
    vnodes: 128,
    log: '/store/1/sheep.log',
    tlsMode: 'off',
    original: {
      background: true,
      title: 'sheep /store/1 -z 1 -p 7001 -c local -j size=64M',
      notices: [],
      localDirectory: '/fold/local',
    },
  });
});

test('options stand before and after the store, short and long', () => {
  for (const line of ['-f -p 7002 /s', '/s -f -p7002', '--foreground --port 7002 /s', '/s --port=7002 -f']) {
    const config = parse(line);
    assert.equal([config.dir, config.port, config.original!.background], ['/s', 7002, false], line);
  }
});

test('the zone is that of the address, and -z another', () => {
  assert.is(parse('/s').zone, 0x0100007f);
  assert.is(parse('/s -b 192.168.1.5').zone, 0x0501a8c0);
  assert.is(parse('/s -z 4294967295').zone, 4294967295);
});

test('the address to listen on and the one told to others', () => {
  const addresses = (line: string) => {
    const { host, advertise } = parse(line);
    return [host, advertise];
  };
  assert.equal(addresses('/s -b 192.168.1.5'), ['192.168.1.5', undefined]);
  assert.equal(addresses('/s -y 192.168.1.6'), ['192.168.1.6', undefined]);
  assert.equal(addresses('/s -b 0.0.0.0 -y 192.168.1.6'), ['0.0.0.0', '192.168.1.6']);
  assert.equal(addresses('/s -b 0.0.0.0'), ['0.0.0.0', '127.0.0.1']);
});

test('a gateway has no weight, -V sets another', () => {
  assert.is(parse('/s -g').vnodes, 0);
  assert.is(parse('/s -V 64').vnodes, 64);
});

test('several clusters of one host are told apart by a directory', () => {
  assert.is(parse('/s -c local:/clusters/a').coordinator, '/clusters/a/coordinator');
  for (const driver of ['corosync', 'zookeeper:127.0.0.1:2181/x', 'shepherd:h', 'etcd:h']) {
    assert.match(refused(`/s -c ${driver}`), /is not available: use '-c local'/);
  }
});

test('where and how much to log', () => {
  const log = (line: string) => {
    const config = parse(line);
    return [config.log, config.logLevel];
  };
  assert.equal(log('/s -l dir=/var/log,level=debug,format=server'), ['/var/log/sheep.log', 'debug']);
  assert.equal(log('/s -l level=4'), ['/s/sheep.log', 'warning']);
  assert.equal(log('/s -l 7'), ['/s/sheep.log', 'debug']);
  assert.equal(log('/s -l dst=stdout'), [undefined, undefined]);
  assert.match(refused('/s -l level=loud'), /invalid log level 'loud'/);
  assert.match(refused('/s -l colour=red'), /-l: invalid parameter 'colour=red'/);
});

test('what tuned the original is accepted, and said when it changes nothing', () => {
  const tuned = '/s -D -n -u -W -w net=2,gway=4 -x 100 -R max=10,interval=1 -r swift';
  const { notices } = parse(`${tuned} -j size=1G,dir=/journal,skip -l dst=syslog`).original!;
  assert.equal(
    notices.map((notice) => notice.split(' ').slice(0, 2).join(' ')),
    ['-j dir=', '-n changes', '-r changes', '-R changes', '-l dst=syslog'],
  );
});

test('-i names the network for traffic between sheep', () => {
  const io = (line: string) => {
    const { ioHost, ioPort } = parse(line);
    return [ioHost, ioPort];
  };
  assert.equal(io('/s'), [undefined, undefined]);
  assert.equal(io('/s -p 7001 -i host=10.0.0.1'), ['10.0.0.1', 7001]);
  assert.equal(io('/s -i host=10.0.0.1,port=7100'), ['10.0.0.1', 7100]);
  assert.match(refused('/s -i port=7100'), /-i needs an address/);
  assert.match(refused('/s -i host=store1'), /invalid I\/O address 'store1'/);
  assert.match(refused('/s -i host=10.0.0.1,port=x'), /invalid port number 'x'/);
});

test('mistakes are told in the words of getopt', () => {
  assert.match(refused('/s -q'), /^invalid option -- 'q'\nTry 'sheep --help'/);
  assert.match(refused('/s --quick'), /^unrecognized option '--quick'\n/);
  assert.match(refused('/s -p'), /^option requires an argument -- 'p'\n/);
  assert.match(refused('/s -p 0'), /invalid port number '0'/);
  assert.match(refused('/s -z x'), /invalid zone id 'x'/);
  assert.match(refused('/s -b host'), /invalid bind address 'host'/);
  assert.match(refused('/s -V 0'), /invalid number of vnodes/);
  assert.match(refused('/s -j size=1M'), /at least 64M/);
  assert.match(refused('/s -j dir=/j'), /-j needs a size/);
  assert.match(refused('-c local'), /no directory for the store/);
  assert.match(refused('/s /t'), /too many arguments/);
});

test('objects may lie on another disk than the rest', () => {
  const { dir, disk, log } = parse('/meta,/disk1');
  assert.equal([dir, disk, log], ['/meta', ['/disk1'], '/meta/sheep.log']);
});

test('objects may lie on several disks', () => {
  assert.equal(parse('/meta,/disk1,/disk2').disk, ['/disk1', '/disk2']);
  assert.is(parse('/meta').disk, undefined);
});

test('doors beside a port far away are left out', () => {
  const { nbdPort, httpPort } = parse('/s -p 65000');
  assert.equal([nbdPort, httpPort], [-1, 65080]);
});

test.run();
