//! Dialplans of the PBXes that the tests run: the wiki's, and one with our snippet.

/// The wiki's lines as they stand there.
const WIKI_INBOUND: &str = r#"
exten => s,n,Set(CALL_START=${STRFTIME(${EPOCH},,%Y-%m-%dT%H:%M:%S)})
exten => s,n,Set(MSISDN=${CALLERID(num)})
exten => s,n,Set(CALL_DIRECTION="inbound")
exten => s,n,Set(CHANNEL(hangup_handler_push)=rapidpro,s,1(${CALL_START},${MSISDN},${CALL_DIRECTION}));
"#;
const WIKI_OUTBOUND: &str = r#"
exten => _0XXXXXXXXX,n,Set(CALL_START=${STRFTIME(${EPOCH},,%Y-%m-%dT%H:%M:%S)})
exten => _0XXXXXXXXX,n,Set(MSISDN=${EXTEN})
exten => _0XXXXXXXXX,n,Set(CALL_DIRECTION="outbound")
exten => _0XXXXXXXXX,n,Set(CHANNEL(hangup_handler_push)=rapidpro,s,1(${CALL_START},${MSISDN},${CALL_DIRECTION}));
"#;
const WIKI_CONTEXT: &str = r#"
[rapidpro]
exten => s,1,Set(CALL_END=${STRFTIME(${EPOCH},,%Y-%m-%dT%H:%M:%S)})
exten => s,2,AGI(/opt/rapidpro_connection/update_user_rapidpro.py,"${MSISDN}",${CALL_START},${CALL_END},"${CALL_DIRECTION}")
same => n,Return()
"#;

/// Our lines, as the head of the snippet says.
const OUR_INBOUND: &str = "exten => s,n,Gosub(ooy-inbound,s,1)";
const OUR_OUTBOUND: &str = "exten => _0XXXXXXXXX,n,Gosub(ooy-outbound,s,1(${EXTEN}))";

/// A PBX of which the last lines of its two contexts and the handler's context are given.
/// `Local/NUMBER@in-far` is a call from NUMBER whose caller hangs up, `in-near` one which the
/// PBX ends; `out-far` and `out-near` are calls to NUMBER. The report is the handler that was
/// pushed first, and so runs last.
fn dialplan(inbound: &str, outbound: &str, handler: &str) -> String {
    format!(
        r#"
[in-far]
exten => _[+0-9a-zA-Z].,1,Set(TALK=30)
 same => n,Goto(incoming,${{EXTEN}},1)
[in-near]
exten => _[+0-9a-zA-Z].,1,Set(TALK=0.1)
 same => n,Goto(incoming,${{EXTEN}},1)
[incoming]
exten => _[+0-9a-zA-Z].,1,Set(CALLERID(num)=${{EXTEN}})
 same => n,Goto(known,s,1)

; Caller ids that cannot be dialled.
[odd]
exten => quote,1,Set(CALLERID(num)=0712"345678)
 same => n,Goto(known,s,1)
exten => nobody,1,Set(CALLERID(num)=)
 same => n,Goto(known,s,1)
exten => sip,1,Set(CALLERID(num)=alice@sip.example.org)
 same => n,Goto(known,s,1)
exten => option,1,Set(CALLERID(num)=--home)
 same => n,Goto(known,s,1)
exten => spaces,1,Set(CALLERID(num)=0733 345 678)
 same => n,Goto(known,s,1)

[known]
exten => s,1,Set(TALK=${{IF($["${{TALK}}" = ""]?0.1:${{TALK}})}})
 same => n,Set(CHANNEL(hangup_handler_push)=report,s,1)
 same => n,Goto(covid19,s,1)

[out-far]
exten => _0XXXXXXXXX,1,Set(TALK=30)
 same => n,Set(CHANNEL(hangup_handler_push)=report,s,1)
 same => n,Goto(lvctsip,${{EXTEN}},1)
[out-near]
exten => _0XXXXXXXXX,1,Set(TALK=0.1)
 same => n,Set(CHANNEL(hangup_handler_push)=report,s,1)
 same => n,Goto(lvctsip,${{EXTEN}},1)

[report]
exten => s,1,Verbose(1,REPORT ${{AGISTATUS}} ${{OOY_STATUS}})
 same => n,Return()

[covid19]
exten => s,1,Answer()
{inbound}
exten => s,n,Wait(${{TALK}})
exten => s,n,Hangup()

[lvctsip]
exten => _0XXXXXXXXX,1,Answer()
{outbound}
exten => _0XXXXXXXXX,n,Wait(${{TALK}})
exten => _0XXXXXXXXX,n,Hangup()

{handler}
"#
    )
}

pub fn wiki_dialplan() -> String {
    dialplan(WIKI_INBOUND, WIKI_OUTBOUND, WIKI_CONTEXT)
}

/// With the snippet as it is printed, and one line of it in each context.
pub fn our_dialplan(snippet: &str) -> String {
    dialplan(OUR_INBOUND, OUR_OUTBOUND, snippet)
}
