import subprocess,time,os,sys,shutil,tempfile,statistics
W,OPT,BIN,TOK=sys.argv[1:5]
a=[];b=[]
for i in range(15):
    h=tempfile.mkdtemp(dir=W)
    t=time.time(); subprocess.run([OPT,"optimize",W+"/ws/dist","--output",h+"/out","--json","--no-browser"],env={"HOME":h,"PAGEFLARE_TELEMETRY":"0","CI":"true","PATH":os.environ["PATH"]},stdout=subprocess.DEVNULL,check=True); a.append(time.time()-t)
    env={"PATH":os.environ["PATH"],"TMPDIR":h,"HOME":h,"CI":"true","GITHUB_ACTIONS":"true","GITHUB_WORKSPACE":W+"/ws","GITHUB_OUTPUT":h+"/o","GITHUB_STEP_SUMMARY":h+"/s","GITHUB_REPOSITORY":"acme/site","PAGEFLARE_TOKEN":TOK,"INPUT_OPTIMIZER-PATH":OPT,"INPUT_OUTPUT":"public","INPUT_JOB-TOTAL":"1"}
    t=time.time(); subprocess.run([BIN],cwd=W+"/ws",env=env,stdout=subprocess.DEVNULL,check=True); b.append(time.time()-t)
    shutil.rmtree(W+"/ws/public"); shutil.rmtree(h)
print("alone %.1f ms action %.1f ms added %.1f ms"%(statistics.median(a)*1e3,statistics.median(b)*1e3,(statistics.median(b)-statistics.median(a))*1e3), "min",min(b)*1e3-min(a)*1e3)
