// deadline: 300 s
import { test } from 'uvu';
import { OriginalCluster } from './dog-transcripts-runner.js';

/** What `dog` says of volumes: create, write, read, snapshots, clones, rollback, attributes, resize, delete. */
let cluster: OriginalCluster;

test.before(async () => {
  cluster = await OriginalCluster.make();
  await cluster.start(0, 1, 2);
  await cluster.shell('dog cluster format -c 3');
});

test.after(() => cluster.stop());

const heading =
  '  Name        Id    Size    Used  Shared    Creation time   VDI id  Copies  Tag   Block Size Shift';
const longTag = 't'.repeat(255);
const name255 = 'y'.repeat(255);
const copiesHelp = `! To create replicated vdi, set -c x
!   x(1 to 31)   - number of replicated copies
! To create erasure coded vdi, set -c x:y
!   x(2,4,8,16)  - number of data strips
!   y(1 to 15)   - number of parity strips`;

test('create', () =>
  cluster.checkAll(`
$ dog vdi create alpha 128M
$ dog vdi create alpha 128M
! Failed to create VDI alpha: VDI exists already
? 1
# The original took a size of 0, an empty name and a name that is too long.
$ dog vdi create zero 0
! Failed to create VDI zero: its size is 0
? 1
$ dog vdi create '' 1G 2> /files/err || { test -s /files/err && echo refused; }
refused
$ dog vdi create ${'x'.repeat(256)} 1G 2> /files/err || { test -s /files/err && echo refused; }
refused
$ dog vdi create oddsize 1000000
# Hyper volumes have larger objects here.
$ dog vdi create huge 16T -y
$ dog vdi list huge -r; dog vdi delete huge
= huge 0 17592186044416 0 0 {n} c1a482 3  24
$ dog vdi create hyper 1G -y
$ dog vdi list hyper -r; dog vdi delete hyper
= hyper 0 1073741824 0 0 {n} 5b5b59 3  22
$ dog vdi create ${name255} 1G
$ dog vdi create beta 64M -v
VDI ID of newly created VDI: 4620a7
$ dog vdi create gamma 16M -P
$ dog vdi create gamma2 16M -P -v
VDI ID of newly created VDI: f0c088
$ dog vdi create twocopies 16M -c 2
# More copies than zones were accepted silently.
$ dog vdi create fivecopies 16M -c 5
! Failed to create VDI fivecopies: Number of copies (5) is larger than number of zones (3)
! Ask for fewer copies with -c, or add a sheep in another zone.
? 1
$ dog vdi create ecbad 16M -c 3:1
! Invalid parameter 3:1
${copiesHelp}
? 1
$ dog vdi create bs20 16M -z 20
$ dog vdi create bs19 16M -z 19
! Object Size is larger than 2^20. Please set shift bit larger than 20
? 1
$ dog vdi create bs32 16M -z 32
! Object Size is limited to 2^31. Please set shift bit lower than 31
? 1
$ dog vdi create rawone 16M -r
$ dog vdi list
${heading}
  ${name255}     0  1.0 GB  0.0 MB  0.0 MB {minute}    742be      3                22
  rawone       0   16 MB  0.0 MB  0.0 MB {minute}   1c431b      3                22
  bs20         0   16 MB  0.0 MB  0.0 MB {minute}   249380      3                20
  beta         0   64 MB  0.0 MB  0.0 MB {minute}   4620a7      3                22
  gamma        0   16 MB   16 MB  0.0 MB {minute}   6ba96a      3                22
  twocopies     0   16 MB  0.0 MB  0.0 MB {minute}   e25e04      2                22
  alpha        0  128 MB  0.0 MB  0.0 MB {minute}   ed202b      3                22
  gamma2       0   16 MB   16 MB  0.0 MB {minute}   f0c088      3                22
  oddsize      0  1.0 MB  0.0 MB  0.0 MB {minute}   fa9abf      3                22
$ dog vdi list alpha
${heading}
  alpha        0  128 MB  0.0 MB  0.0 MB {minute}   ed202b      3                22
$ dog vdi list nosuch
${heading}
$ dog vdi list -o
! dog: option requires an argument -- 'o'
! Try 'dog --help' for more information.
? 64
$ dog vdi list -r
= ${name255} 0 1073741824 0 0 {n} 742be 3  22
= rawone 0 16777216 0 0 {n} 1c431b 3  22
= bs20 0 16777216 0 0 {n} 249380 3  20
= beta 0 67108864 0 0 {n} 4620a7 3  22
= gamma 0 16777216 16777216 0 {n} 6ba96a 3  22
= twocopies 0 16777216 0 0 {n} e25e04 2  22
= alpha 0 134217728 0 0 {n} ed202b 3  22
= gamma2 0 16777216 16777216 0 {n} f0c088 3  22
= oddsize 0 1000000 0 0 {n} fa9abf 3  22
$ dog vdi list alpha -r
= alpha 0 134217728 0 0 {n} ed202b 3  22
$ dog vdi list nosuch -r
$ dog vdi list -o nothex -r
! object id must be a hex integer
? 1
`));

test('write and read', () =>
  cluster.checkAll(`
$ head -c 10485760 /dev/urandom > /files/w.bin; dog vdi write alpha < /files/w.bin
$ dog vdi read alpha 0 10485760 | cmp - /files/w.bin && echo same
same
$ echo hello | dog vdi write alpha 4194300 6
$ dog vdi read alpha 4194300 6
hello
$ printf abc | dog vdi write alpha 0 512
# Writing past the end: the original wrote what fitted, or nothing, and exited 0.
$ echo hello | dog vdi write alpha 134217728 6 2> /files/err || { test -s /files/err && echo refused; }
refused
$ echo hello | dog vdi write alpha 134217726 6 2> /files/err || { test -s /files/err && echo refused; }
refused
$ dog vdi read alpha 134217728 10
$ dog vdi read alpha 134217726 10 | wc -c
2
$ echo hello | dog vdi write nosuch
! Failed to open VDI nosuch (snapshot id: 0 snapshot tag: ): No VDI found
? 1
$ dog vdi read nosuch
! Failed to open VDI nosuch (snapshot id: 0 snapshot tag: ): No VDI found
? 1
$ dog vdi read beta 0 16 | od -c
0000000  \\0  \\0  \\0  \\0  \\0  \\0  \\0  \\0  \\0  \\0  \\0  \\0  \\0  \\0  \\0  \\0
0000020
$ echo hello | dog vdi write beta 0 6 -w
$ dog vdi list alpha
${heading}
  alpha        0  128 MB   12 MB  0.0 MB {minute}   ed202b      3                22
$ dog node info -r | sed 's/.* //'
{n}%
{n}%
{n}%
1359954496
`));

test('snapshots and clones', () =>
  cluster.checkAll(`
$ dog vdi snapshot -s s1 alpha
$ dog vdi snapshot -s s1 alpha
! Failed to create snapshot for alpha, maybe snapshot id (0) or tag (s1) is existed
? 1
$ dog vdi snapshot alpha
$ dog vdi snapshot -s s3 alpha -v
new VID of original VDI: ed202e, VDI ID of newly created snapshot: ed202d
$ dog vdi snapshot -s s4 alpha -r
$ dog vdi snapshot -s s1 nosuch
! Failed to create snapshot for nosuch: No VDI found
? 1
$ dog vdi snapshot -s ${longTag} alpha
$ echo newdata | dog vdi write alpha 0 8
$ dog vdi read -s s1 alpha 0 3; dog vdi read alpha 0 8; dog vdi read -s 1 alpha 0 3
abcnewdata
abc\\
$ dog vdi read -s nosuch alpha 0 3
! Failed to open VDI alpha (snapshot id: 0 snapshot tag: nosuch): Failed to find requested tag
? 1
$ echo x | dog vdi write -s s1 alpha 0 2
! dog: invalid option -- 's'
! Try 'dog --help' for more information.
? 64
$ dog vdi clone -s s1 alpha cl1
$ dog vdi clone -s 2 alpha cl2 -v
VDI ID of newly created clone: 42558
$ dog vdi clone -n -s s1 alpha cl3
$ dog vdi clone -P -s s1 alpha cl4
$ dog vdi clone -s s1 alpha cl5 -r
$ dog vdi clone -s s1 alpha alpha
! Failed to create VDI alpha: VDI exists already
? 1
$ dog vdi clone -s s1 alpha cl1
! Failed to create VDI cl1: VDI exists already
? 1
$ dog vdi clone -s s1 nosuch cl7
! Failed to open VDI nosuch (snapshot id: 0 snapshot tag: s1): No VDI found
? 1
$ dog vdi clone -s nosuch alpha cl7
! Failed to open VDI alpha (snapshot id: 0 snapshot tag: nosuch): Failed to find requested tag
? 1
$ dog vdi list | grep cl
c cl2          0  128 MB  0.0 MB   12 MB {minute}    42558      3                22
  cl3          0  128 MB   12 MB  0.0 MB {minute}    4270b      3                22
c cl1          0  128 MB  0.0 MB   12 MB {minute}    42a71      3                22
c cl4          0  128 MB  128 MB  0.0 MB {minute}    42f8a      3                22
c cl5          0  128 MB  0.0 MB   12 MB {minute}    4313d      3                22
$ dog vdi list alpha
${heading}
s alpha        1  128 MB   12 MB  0.0 MB {minute}   ed202b      3            s1  22
s alpha        2  128 MB  0.0 MB   12 MB {minute}   ed202c      3                22
s alpha        3  128 MB  0.0 MB   12 MB {minute}   ed202d      3            s3  22
s alpha        4  128 MB  0.0 MB   12 MB {minute}   ed202e      3            s4  22
s alpha        5  128 MB  0.0 MB   12 MB {minute}   ed202f      3 ${longTag}  22
  alpha        0  128 MB  4.0 MB  8.0 MB {minute}   ed2030      3                22
$ dog vdi list alpha -r
s alpha 1 134217728 12582912 0 {n} ed202b 3 s1 22
s alpha 2 134217728 0 12582912 {n} ed202c 3  22
s alpha 3 134217728 0 12582912 {n} ed202d 3 s3 22
s alpha 4 134217728 0 12582912 {n} ed202e 3 s4 22
s alpha 5 134217728 0 12582912 {n} ed202f 3 ${longTag} 22
= alpha 0 134217728 4194304 8388608 {n} ed2030 3  22
$ dog vdi tree
cl2---(you are here)
cl3---(you are here)
cl1---(you are here)
cl4---(you are here)
cl5---(you are here)
${name255}---(you are here)
rawone---(you are here)
bs20---(you are here)
beta---(you are here)
gamma---(you are here)
twocopies---(you are here)
alpha---[{minute}]---[{minute}]---[{minute}]---[{minute}]---[{minute}]---(you are here)
gamma2---(you are here)
oddsize---(you are here)
`));

test('old libvirt finds each volume once, and no snapshot', () =>
  cluster.checkAll(`
$ dog vdi create 'with space' 16M; SHEEPFOLD_DOG_COMPAT=libvirt dog vdi list -r | cut -d' ' -f1,2
= cl2
= cl3
= cl1
= cl4
= cl5
= ${name255}
= rawone
= bs20
= beta
= gamma
= twocopies
= alpha
= gamma2
= oddsize
$ SHEEPFOLD_DOG_COMPAT=libvirt dog vdi list cl1 -r
= cl1 0 134217728 0 12582912 {n} 42a71 3  22
$ dog vdi list -r 'with space'; dog vdi delete 'with space'
= with\\ space 0 16777216 0 0 {n} {hex} 3  22
`));

test('rollback', () =>
  cluster.checkAll(`
# A question without an answer is a no, and a no fails.
$ dog vdi rollback -s s1 alpha
This operation discards any changes made since the previous
snapshot was taken.  Continue? [yes/no]: \\
! Nothing was done.
? 1
$ dog vdi rollback -f -s s1 alpha
$ dog vdi rollback -f -s nosuch alpha
! Failed to open VDI alpha (snapshot id: 0 snapshot tag: nosuch): Failed to find requested tag
? 1
$ echo yes | dog vdi rollback -s s1 alpha
This operation discards any changes made since the previous
snapshot was taken.  Continue? [yes/no]: \\
$ dog vdi rollback -f -r -s s1 alpha
$ dog vdi tree alpha
alpha---[{minute}]-+-[{minute}]---[{minute}]---[{minute}]---[{minute}]
                           \`-(you are here)
$ dog vdi list alpha | tail -1
  alpha        0  128 MB  0.0 MB   12 MB {minute}   {hex}      3                22
`));

test('objects', () =>
  cluster.checkAll(`
$ dog vdi object location alpha -s s1 -i 1 | head -6
Looking for the object 00ed202b00000001 (vid 0xed202b idx 1, 3 copies) with 3 nodes

127.0.0.1:7000 has the object
127.0.0.1:7001 has the object
127.0.0.1:7002 has the object

$ dog vdi object location alpha -s s1 | head -1
Looking for the inode object 0xed202b with 3 nodes
# The original crashed.
$ dog vdi object location alpha -i 99999999
! Index 99999999 is past the end: alpha has 32 objects
? 1
$ dog vdi object map alpha
Index       VID
00000000   ed202b
00000001   ed202b
00000002   ed202b
$ dog vdi object map alpha -i 0
Index       VID
00000000   ed202b
$ dog vdi object dump-inode alpha
! failed to open inode object file: No such file or directory
? 1
$ dog vdi object location nosuch
! Failed to open VDI nosuch (snapshot id: 0 snapshot tag: ): No VDI found
! FATAL: no inode objects
? 1
$ dog vdi object map nosuch
! Failed to open VDI nosuch (snapshot id: 0 snapshot tag: ): No VDI found
! FATAL: nosuch not found
? 1
`));

test('attributes', () =>
  cluster.checkAll(`
$ dog vdi setattr alpha k1 v1
$ dog vdi getattr alpha k1
v1\\
$ dog vdi setattr -x alpha k1 v2
! The attribute 'k1' already exists
? 3
$ dog vdi setattr alpha k1 v3; dog vdi getattr alpha k1
v3\\
$ printf fromstdin | dog vdi setattr alpha k2; dog vdi getattr alpha k2
fromstdin\\
$ dog vdi setattr -d alpha k1
$ dog vdi setattr -d alpha k1
! Attribute 'k1' not found
? 5
$ dog vdi getattr alpha k1
! Attribute 'k1' not found
? 5
$ dog vdi getattr nosuch k1
! VDI not found
? 5
$ dog vdi setattr nosuch k1 v
! VDI not found
? 5
$ dog vdi setattr alpha ${'k'.repeat(255)} v
# The original cut a value of 70000 bytes to 65536, and said nothing.
$ head -c 70000 /dev/zero | dog vdi setattr alpha big
! The value is longer than 65536 bytes; nothing was set
? 1
$ head -c 65536 /dev/zero | dog vdi setattr alpha big; dog vdi getattr alpha big | wc -c
65536
`));

test('resize', () =>
  cluster.checkAll(`
$ dog vdi resize alpha 256M
$ dog vdi resize alpha 256M
$ dog vdi resize nosuch 256M
! Failed to open VDI nosuch (snapshot id: 0 snapshot tag: ): No VDI found
? 1
$ dog vdi resize alpha 128M
! Shrinking VDIs is not implemented
? 64
$ dog vdi resize alpha 9T
! New VDI size is too large. This volume's max size is 4398046511104
? 64
$ dog vdi resize alpha -s s1 512M
! dog: invalid option -- 's'
! Try 'dog --help' for more information.
? 64
$ dog vdi list alpha | tail -1
  alpha        0  256 MB  0.0 MB   12 MB {minute}   {hex}      3                22
`));

test('delete', () =>
  cluster.checkAll(`
# The original exited 0 whatever happened.
$ dog vdi delete nosuch
! Failed to open VDI nosuch (snapshot id: 0 snapshot tag: ): No VDI found
? 1
$ dog vdi delete -s s3 alpha
$ dog vdi delete -s nosuch alpha
! Failed to open VDI alpha (snapshot id: 0 snapshot tag: nosuch): Failed to find requested tag
? 1
$ dog vdi delete alpha
$ dog vdi delete alpha
! Failed to open VDI alpha (snapshot id: 0 snapshot tag: ): No VDI found
? 1
$ dog vdi delete cl1
$ dog vdi delete beta; dog vdi list -r
c cl2 0 134217728 0 12582912 {n} 42558 3  22
= cl3 0 134217728 12582912 0 {n} 4270b 3  22
c cl4 0 134217728 134217728 0 {n} 42f8a 3  22
c cl5 0 134217728 0 12582912 {n} 4313d 3  22
= ${name255} 0 1073741824 0 0 {n} 742be 3  22
= rawone 0 16777216 0 0 {n} 1c431b 3  22
= bs20 0 16777216 0 0 {n} 249380 3  20
= gamma 0 16777216 16777216 0 {n} 6ba96a 3  22
= twocopies 0 16777216 0 0 {n} e25e04 2  22
s alpha 1 134217728 12582912 0 {n} ed202b 3 s1 22
s alpha 2 134217728 0 12582912 {n} ed202c 3  22
s alpha 4 134217728 0 12582912 {n} ed202e 3 s4 22
s alpha 5 134217728 0 12582912 {n} ed202f 3 ${longTag} 22
= gamma2 0 16777216 16777216 0 {n} f0c088 3  22
= oddsize 0 1000000 0 0 {n} fa9abf 3  22
`));

test.run();
