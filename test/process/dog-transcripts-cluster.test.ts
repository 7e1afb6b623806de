// deadline: 300 s
import { test } from 'uvu';
import { OriginalCluster } from './dog-transcripts-runner.js';

/** What `dog` says of a cluster and its nodes: no daemon, unformatted, empty, changed, degraded, shut down. */
let cluster: OriginalCluster;

test.before(async () => {
  cluster = await OriginalCluster.make();
});

test.after(() => cluster.stop());

const copiesHelp = `! To create replicated vdi, set -c x
!   x(1 to 31)   - number of replicated copies
! To create erasure coded vdi, set -c x:y
!   x(2,4,8,16)  - number of data strips
!   y(1 to 15)   - number of parity strips`;

const heading =
  '  Name        Id    Size    Used  Shared    Creation time   VDI id  Copies  Tag   Block Size Shift';

const allNodes = `  Id   Host:Port         V-Nodes       Zone
   0   127.0.0.1:7000      \t128          0
   1   127.0.0.1:7001      \t128          1
   2   127.0.0.1:7002      \t128          2`;

const three = '[127.0.0.1:7000:128, 127.0.0.1:7001:128, 127.0.0.1:7002:128]';
const two = '[127.0.0.1:7000:128, 127.0.0.1:7001:128]';

test('no daemon', () =>
  cluster.checkAll(`
$ dog node list -p 7009
! failed to connect to 127.0.0.1:7009: Connection refused
! failed to connect to 127.0.0.1:7009: Connection refused
! Failed to get node list
? 2
$ dog vdi list -p 7009
${heading}
! failed to connect to 127.0.0.1:7009: Connection refused
! failed to connect to 127.0.0.1:7009: Connection refused
? 2
$ dog cluster info -p 7009
! failed to connect to 127.0.0.1:7009: Connection refused
! failed to connect to 127.0.0.1:7009: Connection refused
! Failed to get node list
? 2
$ dog node list -a nosuch.invalid
! Invalid ip address nosuch.invalid
? 1
$ dog node list -p 99999
! Invalid port number '99999'
? 64
`));

test('three sheep start with the options of the original', () => cluster.start(0, 1, 2));

test('an unformatted cluster', () =>
  cluster.checkAll(`
$ dog node list
${allNodes}
$ dog cluster info
Cluster status: Waiting for cluster to be formatted

$ dog cluster info -r
Waiting for cluster to be formatted

$ dog vdi list
${heading}
$ dog vdi create x 1G
! Failed to create VDI x: Waiting for cluster to be formatted
? 1
$ dog node info
Id\tSize\tUsed\tAvail\tUse%
! Response's result: Waiting for cluster to be formatted
! Response's result: Waiting for cluster to be formatted
! Response's result: Waiting for cluster to be formatted
! Cannot get information from any nodes
? 2
$ dog node md info
Id\tSize\tUsed\tAvail\tUse%\tPath
! failed to get multi-disk information: Waiting for cluster to be formatted
? 1
$ dog cluster format -c 0
! Invalid parameter 0
${copiesHelp}
? 1
$ dog cluster format -c 32
! Invalid parameter 32
${copiesHelp}
? 1
$ dog cluster format -c x
! Invalid parameter x
${copiesHelp}
? 1
$ dog cluster format -b nosuch
using backend nosuch store
Available stores:
---------------------------------------
tree plain${' '}
! Format failed: Targeted backend store is not found
? 2
$ dog cluster format -z 40
! Object Size is limited to 2^31. Please set shift bit lower than 31
? 1
# Erasure coding is refused before anything is asked.
$ dog cluster format -c 4:2
! Erasure coding (4:2) is not available yet
! Use a number of copies, as in -c 3.
? 1
# A question without an answer is a no, and a no fails.
$ dog cluster format -c 5
Number of copies (5) is larger than number of zones (3).
Are you sure you want to continue? [yes/no]: \\
! Nothing was done.
? 1
$ dog cluster format -c 3
using backend plain store
$ dog cluster format -c 3
using backend plain store
$ echo yes | dog cluster format -c 3
using backend plain store
$ echo no | dog cluster format -c 3
using backend plain store
`));

test('a formatted, empty cluster', () =>
  cluster.checkAll(`
$ dog node list
${allNodes}
$ dog node info
Id\tSize\tUsed\tAvail\tUse%
 0\t{size}\t{size}\t{size}\t  {n}%
 1\t{size}\t{size}\t{size}\t  {n}%
 2\t{size}\t{size}\t{size}\t  {n}%
Total\t{size}\t{size}\t{size}\t  {n}%

Total virtual image size\t0.0 MB
$ dog node md info
Id\tSize\tUsed\tAvail\tUse%\tPath
 0\t{size}\t{size}\t{size}\t  {n}%\t{path}
$ dog node md info -A
Id\tSize\tUsed\tAvail\tUse%\tPath
Node 0:
 0\t{size}\t{size}\t{size}\t  {n}%\t{path}
Node 1:
 0\t{size}\t{size}\t{size}\t  {n}%\t{path}
Node 2:
 0\t{size}\t{size}\t{size}\t  {n}%\t{path}
$ dog cluster info
Cluster status: running, auto-recovery enabled

Cluster created at {ctime}

Epoch Time           Version [Host:Port:V-Nodes,,,]
{second}      1 ${three}
$ dog cluster info -v
Cluster status: running, auto-recovery enabled
Cluster store: plain with 3 redundancy policy
Cluster vnodes strategy: auto
Cluster vnode mode: node
Cluster created at {ctime}

Epoch Time           Version [Host:Port:V-Nodes,,,]
{second}      1 ${three}
$ dog vdi list
${heading}
$ dog node recovery
Nodes In Recovery:
  Id   Host:Port         V-Nodes       Zone       Progress
$ dog node stat
Request\tActive\tTotal\tWrite\tRead\tRemove\tFlush\tAll WR\tAll RD
Client\t{n}\t{n}\t{n}\t{n}\t{n}\t{n}\t{size}\t{size}
Peer\t{n}\t{n}\t{n}\t{n}\t{n}\t{n}\t{size}\t{size}
$ dog node list -r
0 127.0.0.1:7000 128 0
1 127.0.0.1:7001 128 1
2 127.0.0.1:7002 128 2
$ dog node info -r
0 {n} {n} {n} {n}%
1 {n} {n} {n} {n}%
2 {n} {n} {n} {n}%
Total {n} {n} {n} {n}% 0
$ dog node md info -r
127.0.0.1:7000 0 {n} {n} {n} {n}% {path}
$ dog node md info -A -r
127.0.0.1:7000 0 {n} {n} {n} {n}% {path}
127.0.0.1:7001 0 {n} {n} {n} {n}% {path}
127.0.0.1:7002 0 {n} {n} {n} {n}% {path}
$ dog cluster info -r
running, auto-recovery enabled

{n} 1 ${three}
$ dog cluster info -v -r
running, auto-recovery enabled
plain with 3 redundancy policy
auto
node
{n} 1 ${three}
$ dog vdi list -r
$ dog node recovery -r
$ dog node stat -r
{n}\t{n}\t{n}\t{n}\t{n}\t{n}\t{n}\t{n}
{n}\t{n}\t{n}\t{n}\t{n}\t{n}\t{n}\t{n}
$ dog vdi tree
`));

test('commands for nodes and the cluster', () =>
  cluster.checkAll(`
$ dog node stat -p 7001
Request\tActive\tTotal\tWrite\tRead\tRemove\tFlush\tAll WR\tAll RD
Client\t{n}\t{n}\t{n}\t{n}\t{n}\t{n}\t{size}\t{size}
Peer\t{n}\t{n}\t{n}\t{n}\t{n}\t{n}\t{size}\t{size}
$ dog node md info -p 7001
Id\tSize\tUsed\tAvail\tUse%\tPath
 0\t{size}\t{size}\t{size}\t  {n}%\t/store/1
# What is no directory is not made into one.
$ dog node md plug /nosuch/dir
! Failed to plug /nosuch/dir: there is no directory /nosuch/dir
! 'dog node md info' shows the disks there are.
? 5
$ dog node md unplug -fy /store/default/extra
! Failed to unplug {path}: {path} is not a disk of this node
! 'dog node md info' shows the disks there are.
? 5
$ dog node log level list
! emerg\t(0)
! alert\t(1)
! crit\t(2)
! err\t(3)
! warning\t(4)
! notice\t(5)
! info\t(6)
! debug\t(7)
$ dog node log level get
! info (6)
$ dog node log level set debug; dog node log level get; dog node log level set info
! debug (7)
# The original: 255.
$ dog node log level set nosuch
! invalid loglevel: nosuch
! available loglevels:
! emerg\t(0)
! alert\t(1)
! crit\t(2)
! err\t(3)
! warning\t(4)
! notice\t(5)
! info\t(6)
! debug\t(7)
? 64
$ dog node recovery get-throttle
! max (0), interval (0)
$ dog node recovery get-throttle -r
! max (0), interval (0)
$ dog node recovery set-throttle 0 0
$ dog cluster recover disable
Cluster recovery: disable
$ dog cluster info
Cluster status: running, auto-recovery disabled

Cluster created at {ctime}

Epoch Time           Version [Host:Port:V-Nodes,,,]
{second}      1 ${three}
$ dog cluster recover enable
Cluster recovery: enable
$ echo yes | dog cluster recover force
Caution! Please try starting all the cluster nodes normally before
running this command.

The cluster may need to be force recovered if:
  - the master node fails to start because of epoch mismatch; or
  - some nodes fail to start after a cluster shutdown.

Are you sure you want to continue? [yes/no]: \\
! failed to execute request, Cluster is running/halted and cannot be force recovered
? 1
$ dog cluster alter-copy -c 3 -f
! The cluster's redundancy level is already set to 3, nothing changed.
? 1
$ dog cluster alter-copy -c 2 -f; dog cluster info
Cluster status: running, auto-recovery enabled

Cluster created at {ctime}

Epoch Time           Version [Host:Port:V-Nodes,,,]
{second}      1 ${three}
! The cluster's redundancy level is set to 2, the old one was 3.
$ dog vdi create two 16M; dog vdi list two -r; dog cluster alter-copy -c 3 -f
= two 0 16777216 0 0 {n} {hex} 2  22
! The cluster's redundancy level is set to 3, the old one was 2.
$ dog vdi create six 16M; dog vdi snapshot six -s t; dog cluster check
fix vdi two
finish check&repair two
fix snapshot six (id: 1, tag: "t")
finish check&repair six
fix vdi six
finish check&repair six
$ dog vdi delete six -s t; dog vdi delete six
`));

test('what cannot be done yet says so, and fails', async () => {
  for (const line of ['dog node recovery set-throttle 10 100', 'dog cluster reweight']) {
    const { exit, stdout, stderr } = await cluster.shell(line);
    if (exit !== 1 || stdout !== '' || stderr.split('\n').length < 3) {
      throw new Error(`${line}: exit ${exit}\n${stdout}${stderr}`);
    }
  }
});

test('a node that is killed, and one that returns', async () => {
  await cluster.checkAll(`
$ dog node kill 99
! Invalid node id '99'
? 64
$ dog node kill
! please specify -l option or node id
? 64
$ dog node kill 2; sleep 2; dog node list; dog cluster info
  Id   Host:Port         V-Nodes       Zone
   0   127.0.0.1:7000      \t128          0
   1   127.0.0.1:7001      \t128          1
Cluster status: running, auto-recovery enabled

Cluster created at {ctime}

Epoch Time           Version [Host:Port:V-Nodes,,,]
{second}      2 ${two}
{second}      1 ${three}
$ dog node md info -A
Id\tSize\tUsed\tAvail\tUse%\tPath
Node 0:
 0\t{size}\t{size}\t{size}\t  {n}%\t/store/0
Node 1:
 0\t{size}\t{size}\t{size}\t  {n}%\t/store/1
$ dog node recovery
Nodes In Recovery:
  Id   Host:Port         V-Nodes       Zone       Progress
$ dog node recovery -r
$ echo degraded | dog vdi write two 0 9; dog vdi read two 0 9
degraded
$ dog vdi create degr 16M
`);
  await cluster.start(2);
  await cluster.checkAll(`
$ sleep 1; dog node list; dog vdi read two 0 9 -p 7002
${allNodes}
degraded
$ pkill -9 -f "sheep /store/1"; sleep 1; dog node list
  Id   Host:Port         V-Nodes       Zone
   0   127.0.0.1:7000      \t128          0
   1   127.0.0.1:7002      \t128          2
`);
  await cluster.start(1);
});

test('a format of a cluster with volumes asks', () =>
  cluster.checkAll(`
$ dog cluster format -c 3
    __
   ()'\`;
   /\\|\`
  /  |   Caution! The cluster is not empty.
(/_)_|_  Are you sure you want to continue? [yes/no]: \\
! Nothing was done.
? 1
$ echo no | dog cluster format -c 3; dog vdi list -r | wc -l
    __
   ()'\`;
   /\\|\`
  /  |   Caution! The cluster is not empty.
(/_)_|_  Are you sure you want to continue? [yes/no]: 2
! Nothing was done.
$ echo yes | dog cluster format -c 3; dog vdi list -r | wc -l
    __
   ()'\`;
   /\\|\`
  /  |   Caution! The cluster is not empty.
(/_)_|_  Are you sure you want to continue? [yes/no]: using backend plain store
0
$ dog cluster info -r
running, auto-recovery enabled

{n} 1 ${three}
`));

test('a shutdown ends all sheep', () =>
  cluster.checkAll(`
$ dog cluster shutdown; sleep 2; dog cluster info
! failed to connect to 127.0.0.1:7000: Connection refused
! failed to connect to 127.0.0.1:7000: Connection refused
! Failed to get node list
? 2
`));

test.run();
