"""The stack from outside: loads libveredus-tcp-test.so with ctypes, opens a connection between two stacks, moves bytes,
reads options and connection information, closes. What any other harness does."""
import ctypes
import sys

lib = ctypes.CDLL(sys.argv[1])
P, U64, I64, INT, STR, SIZE = (ctypes.c_void_p, ctypes.c_uint64, ctypes.c_int64, ctypes.c_int, ctypes.c_char_p,
                               ctypes.c_size_t)
for name, result, args in (
        ("create", P, (STR, ctypes.c_uint, U64, STR)), ("destroy", ctypes.c_uint, (P,)), ("error", STR, ()),
        ("set", INT, (P, STR)), ("get", INT, (P, STR, ctypes.POINTER(I64))), ("now", U64, (P,)),
        ("next", I64, (P,)), ("advance", None, (P, U64)), ("inject", INT, (P, U64, STR, SIZE)),
        ("take", SIZE, (P, P, SIZE, ctypes.POINTER(U64))), ("listen", INT, (P, STR, ctypes.c_uint16)),
        ("accept", INT, (P, ctypes.c_uint16)), ("connect", INT, (P, STR, STR, ctypes.c_uint16)),
        ("send", I64, (P, INT, STR, SIZE)), ("recv", I64, (P, INT, P, SIZE)), ("shutdown", INT, (P, INT)),
        ("close", INT, (P, INT)), ("release", INT, (P, INT)), ("events", INT, (P, INT)),
        ("info", INT, (P, INT, STR, ctypes.POINTER(I64))), ("info_name", STR, (ctypes.c_uint,)),
        ("info_text", STR, (P, INT, STR)), ("stat", INT, (P, STR, ctypes.POINTER(I64)))):
    f = getattr(lib, "vtcp_" + name)
    f.restype, f.argtypes = result, args


def number(f, *args):
    v = I64()
    assert f(*args, ctypes.byref(v)) == 0, lib.vtcp_error()
    return v.value


def carry(a, b, delay_us=5000):
    """Takes packets both ways until both are silent at this time."""
    buf, at = ctypes.create_string_buffer(9000), U64()
    while True:
        moved = 0
        for src, dst in ((a, b), (b, a)):
            while n := lib.vtcp_take(src, buf, 9000, ctypes.byref(at)):
                lib.vtcp_inject(dst, at.value + delay_us, buf.raw[:n], n)
                moved += 1
        if not moved:
            return


def talk(family, ours, theirs):
    a = lib.vtcp_create(ours, 1500, 1, b"quickack_segs=0 cc=newreno")
    b = lib.vtcp_create(theirs, 1500, 2, None)
    assert a and b, lib.vtcp_error()
    assert number(lib.vtcp_get, a, b"delack_us") == 40000
    assert lib.vtcp_set(a, b"delack_us=20000") == 0 and number(lib.vtcp_get, a, b"delack_us") == 20000
    assert lib.vtcp_set(a, b"no_such=1") == -3 and lib.vtcp_set(a, b"cc=cubic") == -3
    assert not lib.vtcp_create(b"nonsense", 1500, 1, None) and lib.vtcp_error()
    assert lib.vtcp_listen(b, None, 25) == 0 and lib.vtcp_listen(b, None, 25) == -4
    c = lib.vtcp_connect(a, None, theirs, 25)
    assert c >= 0
    carry(a, b)
    d = lib.vtcp_accept(b, 25)
    assert d >= 0 and lib.vtcp_accept(b, 25) == -1
    assert lib.vtcp_info_text(a, c, b"state") == b"ESTABLISHED" and lib.vtcp_info_text(a, c, b"cc") == b"newreno"
    sent = bytes(i * 7 & 255 for i in range(100000))
    assert lib.vtcp_send(a, c, sent, len(sent)) == len(sent)
    got, room = b"", ctypes.create_string_buffer(4096)
    for _ in range(1000):
        carry(a, b)
        while (n := lib.vtcp_recv(b, d, room, 4096)) > 0:
            got += room.raw[:n]
        if len(got) == len(sent):
            break
        for s in (a, b):
            lib.vtcp_advance(s, lib.vtcp_now(s) + 10000)
    assert got == sent
    info = {}
    for i in range(1000):
        name = lib.vtcp_info_name(i)
        if not name:
            break
        info[name.decode()] = number(lib.vtcp_info, a, c, name)
    assert info["cwnd"] > 14000 and info["retransmits"] == 0 and info["sack"] == 1 and info["snd_wscale"] == 8, info
    assert info["srtt_us"] >= 10000 and info["remote_port"] == 25, info
    lib.vtcp_close(a, c)
    carry(a, b)
    assert lib.vtcp_recv(b, d, room, 10) == 0
    lib.vtcp_close(b, d)
    carry(a, b)
    assert lib.vtcp_info_text(a, c, b"state") == b"TIME-WAIT" and lib.vtcp_info_text(b, d, b"state") == b"CLOSED"
    assert number(lib.vtcp_stat, a, b"time_wait") == 1
    lib.vtcp_advance(a, lib.vtcp_now(a) + 61000000)
    assert number(lib.vtcp_stat, a, b"time_wait") == 0
    assert lib.vtcp_release(a, c) == 0 and lib.vtcp_release(a, c) == -3
    assert lib.vtcp_destroy(a) == 0 and lib.vtcp_destroy(b) == 0, family


talk("IPv4", b"198.18.0.1", b"198.18.0.2")
talk("IPv6", b"fd00::1", b"fd00::2")
print("passed")
